//! A spec that can be built. The schema refuses most of what is refused here; this holds when an older schema is
//! installed, and for what no rule of a schema can say.

use std::sync::Arc;

use operator_api::{FourLetterWord, StorageType, UpdateMode, ZooKeeperEnsembleSpec, names};

use crate::build;
use crate::observed::Observed;
use crate::step::Object;
use crate::window::Window;

/// The most servers of an ensemble.
const REPLICAS_MAX: i32 = 15;
/// The most voters of an ensemble.
const VOTERS_MAX: i32 = 7;
/// The longest value of the annotation that asks for a rolling restart, in bytes: a time with room to spare.
const RESTARTED_AT_BYTES_MAX: usize = 128;

/// A resource whose spec can be carried out. Builders take nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidEnsemble {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID, for owner references.
    pub uid: String,
    /// Its spec.
    pub spec: ZooKeeperEnsembleSpec,
    /// The image to run, complete.
    pub image: String,
    /// How long after its end was due a pod on a node that is off is left alone, in seconds.
    pub node_lost_seconds: i64,
    /// What the annotation that asks for a rolling restart says.
    pub restarted_at: Option<String>,
    /// When servers that work may be restarted; at any time without any.
    pub windows: Vec<Window>,
    /// What `spec.monitoring` asks for, built once: dashboards are large.
    pub monitoring: Arc<[Object]>,
}

/// Checks a resource.
///
/// # Errors
///
/// Every fault, in plain words, with the field's name and what to write instead. Permanent: only an edit helps.
pub fn validate(observed: &Observed) -> Result<ValidEnsemble, Vec<String>> {
    let metadata = &observed.ensemble.metadata;
    let spec = &observed.ensemble.spec;
    let mut faults = Vec::new();
    name(observed.name(), &mut faults);
    if !(0..=REPLICAS_MAX).contains(&spec.replicas) {
        faults.push(format!("spec.replicas is {}; write 0 to {REPLICAS_MAX}", spec.replicas));
    }
    if spec.is_hibernated() && spec.storage.type_ == StorageType::Ephemeral {
        faults.push(
            "spec.replicas is 0 or spec.hibernate is true, and storage of type Ephemeral goes away with the pods; write 1 or more, \
             and false"
                .to_owned(),
        );
    }
    if let Some(voters) = spec.voters {
        let most = if spec.replicas == 0 { VOTERS_MAX } else { VOTERS_MAX.min(spec.replicas) };
        if voters % 2 != 1 || !(1..=most).contains(&voters) {
            faults.push(format!("spec.voters is {voters}; write an odd number from 1 to {most}, or leave it out"));
        }
    }
    if !(1..=240).contains(&spec.myid_offset) {
        faults.push(format!("spec.myidOffset is {}; write 1 to 240", spec.myid_offset));
    }
    if spec.storage.type_ == StorageType::Ephemeral && !spec.storage.acknowledge_data_loss {
        faults.push("spec.storage.type is Ephemeral; set spec.storage.acknowledgeDataLoss: true".to_owned());
    }
    config(spec, &mut faults);
    let windows = update_strategy(spec, &mut faults);
    let node_lost_seconds = spec.repair.node_lost_seconds().unwrap_or_else(|| {
        let text = &spec.repair.node_lost_timeout;
        faults.push(format!("spec.repair.nodeLostTimeout is {text:?}; write a number and s, m or h, such as 5m"));
        0
    });
    let image = image(observed, &mut faults);
    let restarted_at = restarted_at(observed, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut ensemble = ValidEnsemble {
        name: observed.name().to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        spec: spec.clone(),
        image,
        node_lost_seconds,
        restarted_at,
        windows,
        monitoring: Arc::default(),
    };
    ensemble.monitoring = build::monitoring(&ensemble).into();
    Ok(ensemble)
}

fn name(name: &str, faults: &mut Vec<String>) {
    let label = name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !label || name.len() > names::NAME_LENGTH_MAX {
        faults.push(format!(
            "metadata.name is \"{name}\"; it must be a DNS label of at most {} characters that begins with a letter",
            names::NAME_LENGTH_MAX
        ));
    }
}

fn config(spec: &ZooKeeperEnsembleSpec, faults: &mut Vec<String>) {
    let config = &spec.config;
    if config.sync_limit > config.init_limit {
        faults.push(format!(
            "spec.config.syncLimit is {} and exceeds initLimit {}",
            config.sync_limit, config.init_limit
        ));
    }
    let min = config.min_session_timeout_ms.unwrap_or(2 * config.tick_time_ms);
    let max = config.max_session_timeout_ms.unwrap_or(20 * config.tick_time_ms);
    if min < 2 * config.tick_time_ms || max < min {
        faults
            .push(format!("spec.config: sessions of {min} to {max} ms do not fit tickTimeMs {}", config.tick_time_ms));
    }
    let mut words: Vec<FourLetterWord> = config.four_letter_words.clone();
    words.sort_unstable();
    words.dedup();
    if words.len() != config.four_letter_words.len() {
        faults.push("spec.config.fourLetterWords names a word twice".to_owned());
    }
    for (key, value) in &config.extra {
        // A key or value that begins a line of its own could set what the schema reserves.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.is_empty() || !key.chars().all(plain) {
            faults.push(format!("spec.config.extra: the key {key:?} may hold letters, digits, '.', '_' and '-' only"));
        }
        if value.contains(['\r', '\n', '\\']) {
            faults.push(format!("spec.config.extra.{key} holds a line break or a backslash"));
        }
    }
}

fn update_strategy(spec: &ZooKeeperEnsembleSpec, faults: &mut Vec<String>) -> Vec<Window> {
    let (ready, deadline) = (spec.update_strategy.min_ready_seconds, spec.update_strategy.progress_deadline_seconds);
    if ready < 0 || deadline <= ready {
        faults.push(format!(
            "spec.updateStrategy: progressDeadlineSeconds is {deadline} and must exceed minReadySeconds, which is {ready} and must \
             not be negative"
        ));
    }
    if spec.update_strategy.mode == UpdateMode::Swap && !spec.is_hibernated() && !spec.has_spare_observer() {
        faults.push(
            "spec.updateStrategy.mode is Swap, which needs three voters or more and an observer: write spec.replicas 4, or spec.voters below \
             spec.replicas, or mode LeaderLast"
                .to_owned(),
        );
    }
    let mut windows = Vec::new();
    for (index, window) in spec.update_strategy.maintenance_windows.iter().enumerate() {
        match Window::of(window) {
            Ok(window) => windows.push(window),
            Err(fault) => faults.push(format!("spec.updateStrategy.maintenanceWindows[{index}]{fault}")),
        }
    }
    windows
}

fn restarted_at(observed: &Observed, faults: &mut Vec<String>) -> Option<String> {
    let annotation = names::restarted_at_annotation();
    let value = observed.ensemble.metadata.annotations.as_ref()?.get(&annotation)?;
    if value.len() > RESTARTED_AT_BYTES_MAX || value.contains(['\r', '\n']) {
        faults.push(format!(
            "the annotation {annotation} is longer than {RESTARTED_AT_BYTES_MAX} bytes, or breaks the line; write a time"
        ));
    }
    Some(value.clone())
}

fn image(observed: &Observed, faults: &mut Vec<String>) -> String {
    let Some(image) = &observed.ensemble.spec.image else { return observed.default_image.clone() };
    match (&image.repository, &image.tag, &image.digest) {
        (None, None, None) => observed.default_image.clone(),
        (Some(repository), _, Some(digest)) => format!("{repository}@{digest}"),
        (Some(repository), Some(tag), None) => format!("{repository}:{tag}"),
        (Some(_), None, None) | (None, ..) => {
            faults.push("spec.image needs a repository with a tag or a digest, or neither of the three".to_owned());
            String::new()
        }
    }
}
