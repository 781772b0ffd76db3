//! Errors as a person can use them: which thing, what is wrong with it, and what helps.

use std::error::Error as StdError;

use kube::Error;
use kube::client::UpgradeConnectionError;
use operator_api::GROUP;

/// What was tried when an error came.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The verb of the API: `get`, `list`, `patch`.
    pub verb: &'a str,
    /// The API group; empty for the core.
    pub group: &'a str,
    /// The plural of the kind, and after a slash the subresource.
    pub resource: &'a str,
    /// The object; empty for all of them.
    pub name: &'a str,
    /// The namespace; empty for all of them.
    pub namespace: &'a str,
}

impl<'a> Attempt<'a> {
    /// Something done to an ensemble.
    pub fn ensemble(verb: &'a str, namespace: &'a str, name: &'a str) -> Self {
        Self { verb, group: GROUP, resource: "zookeeperensembles", name, namespace }
    }

    /// Something done to an object of the core group.
    pub fn core(verb: &'a str, resource: &'a str, namespace: &'a str, name: &'a str) -> Self {
        Self { verb, group: "", resource, name, namespace }
    }

    /// Where it was tried.
    fn place(&self) -> String {
        if self.namespace.is_empty() { "all namespaces".to_owned() } else { format!("namespace {}", self.namespace) }
    }

    /// That whoever tried it may not, and what to ask for.
    fn forbidden(&self) -> String {
        format!(
            "you may not {} {} in {}: ask for a Role with apiGroups [\"{}\"], resources [\"{}\"], verbs [\"{}\"]",
            self.verb,
            self.resource,
            self.place(),
            self.group,
            self.resource,
            self.verb
        )
    }
}

/// Whether an error says that a right is missing.
pub fn is_forbidden(error: &Error) -> bool {
    match error {
        Error::Api(status) => status.code == 403,
        Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => status.as_u16() == 403,
        _ => false,
    }
}

/// The error in plain words.
pub fn explain(error: &Error, attempt: &Attempt<'_>) -> String {
    let Attempt { name, resource, .. } = attempt;
    match error {
        _ if is_forbidden(error) => attempt.forbidden(),
        Error::Api(status) => match status.code {
            401 => "the cluster does not take your credentials: log in again, or choose another --context".to_owned(),
            // A path that the API server does not have is answered by no Status.
            404 if status.reason != "NotFound" && attempt.group == GROUP => {
                "this cluster does not know ZooKeeperEnsemble: install the operator (see its README), or choose another --context"
                    .to_owned()
            }
            404 if attempt.group == GROUP => {
                format!("there is no ensemble {name} in {}: kubectl zke status -A lists all of them", attempt.place())
            }
            404 => format!("there is no {resource} {name} in {}", attempt.place()),
            409 => format!("{name} was changed by somebody else at the same time: try again"),
            _ => format!("the API server refuses it: {}", status.message),
        },
        other => format!("the API server cannot be asked: {}", innermost(other)),
    }
}

/// The innermost cause: `connection refused` rather than `client error`.
pub fn innermost(error: &dyn StdError) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> Error {
        Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    #[test]
    fn errors_name_the_thing_and_the_fix() {
        let check = |error: &Error, verb: &str, words: &[&str]| {
            let text = explain(error, &Attempt::ensemble(verb, "prod", "zk"));
            for word in words {
                assert!(text.contains(word), "{text:?} lacks {word:?}");
            }
        };
        check(
            &api(404, "NotFound", "zookeeperensembles \"zk\" not found"),
            "get",
            &["no ensemble zk in namespace prod", "status -A"],
        );
        check(
            &api(404, "Failed to parse error data", "404 page not found"),
            "get",
            &["does not know ZooKeeperEnsemble", "install"],
        );
        check(
            &api(403, "Forbidden", "zookeeperensembles is forbidden"),
            "patch",
            &[
                "may not patch zookeeperensembles in namespace prod",
                "apiGroups [\"zookeeper.ensemble.rs\"]",
                "verbs [\"patch\"]",
            ],
        );
        check(&api(401, "Unauthorized", "Unauthorized"), "get", &["credentials"]);
        check(&api(422, "Invalid", "spec.voters must be odd"), "patch", &["spec.voters must be odd"]);
        check(&api(409, "Conflict", "the object has been modified"), "patch", &["try again"]);
    }

    #[test]
    fn a_port_forward_that_is_forbidden_is_known() {
        let refused = UpgradeConnectionError::ProtocolSwitch(hyper::StatusCode::FORBIDDEN);
        assert!(is_forbidden(&Error::UpgradeConnection(refused)));
        let other = UpgradeConnectionError::ProtocolSwitch(hyper::StatusCode::NOT_FOUND);
        assert!(!is_forbidden(&Error::UpgradeConnection(other)));
    }

    #[test]
    fn an_object_of_the_core_is_named_by_its_kind() {
        let text = explain(&api(404, "NotFound", ""), &Attempt::core("get", "secrets", "prod", "zk-superuser"));
        assert_eq!(text, "there is no secrets zk-superuser in namespace prod");
        let text = explain(&api(403, "Forbidden", ""), &Attempt::core("list", "pods", "", ""));
        assert!(text.starts_with("you may not list pods in all namespaces"), "{text}");
    }
}
