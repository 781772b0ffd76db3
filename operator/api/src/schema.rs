//! Fragments of schema that a Rust type cannot say: limits on the values of a map, quantities.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A map of short strings: labels, annotations, node selectors, keys of `zoo.cfg`.
///
/// The values cannot hold a line break, so that none can smuggle a second line into a file.
pub(crate) fn string_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 1024, "pattern": "^[^\\r\\n]*$" },
    })
}

/// Kubernetes' `resource.Quantity` as text, such as `500m` or `10Gi`.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "pattern": QUANTITY_PATTERN,
    })
}

/// A map of resource name to quantity.
pub(crate) fn quantities(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": quantity(generator),
    })
}

/// The positive quantities of `k8s.io/apimachinery/pkg/api/resource`.
const QUANTITY_PATTERN: &str = "^([0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]+)?$";
