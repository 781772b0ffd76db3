//! What is done about a server that does not come back by itself.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What is done about a server that does not come back by itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// Whether a server that does not start because its files cannot be trusted is given new, empty volumes without being asked for, as
    /// by the annotation `zookeeper.ensemble.rs/rebuild`: when all other voters are in sync and a quorum. Its files are deleted.
    #[serde(default)]
    pub auto_rebuild: bool,
    /// How long after its end was due a pod on a lost node is left alone: a number and `s`, `m` or `h`. Then it is deleted by force, but
    /// only if the node is not ready and a person has tainted it `node.kubernetes.io/out-of-service`, and so vouches for that it is off.
    #[serde(default = "default_node_lost_timeout")]
    #[schemars(length(max = 8), regex(pattern = r"^[0-9]{1,5}[smh]$"))]
    pub node_lost_timeout: String,
}

fn default_node_lost_timeout() -> String {
    "5m".to_owned()
}

impl Repair {
    /// `nodeLostTimeout` in seconds; none when the text is no such time.
    pub fn node_lost_seconds(&self) -> Option<i64> {
        let unit = self.node_lost_timeout.chars().next_back()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return None,
        };
        let digits = self.node_lost_timeout.strip_suffix(unit)?;
        let plain = (1..=5).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|_| plain).map(|number| number * seconds)
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self { auto_rebuild: false, node_lost_timeout: default_node_lost_timeout() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        let seconds =
            |text: &str| Repair { node_lost_timeout: text.to_owned(), ..Repair::default() }.node_lost_seconds();
        assert_eq!(["5m", "0s", "90s", "2h", "99999h"].map(seconds), [300, 0, 90, 7200, 359_996_400].map(Some));
        for text in ["", "m", "5", "5 m", "-5m", "+5m", "1h30m", "123456s", "5d", "5mé", "é"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
        assert_eq!(Repair::default().node_lost_seconds(), Some(300));
    }
}
