//! `bench`: how long creates, gets, sets and deletes take, and how many a second there are, on one session.
//!
//! Latency is from before a request is written until its reply is read, with `-c` requests under way at any time. One session on one server: a number to
//! compare ensembles, networks and disks by, not what an ensemble can do.

use super::{Call, Done};
use crate::client::{Client, Mode, Pending};
use crate::error::CommandError;
use ensemble_proto::{Acl, ErrorCode};
use serde_json::json;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Begins the operation of this number.
type Begin<'a> = &'a dyn Fn(&Client, &str) -> Result<Pending, CommandError>;

pub(super) fn run(call: &mut Call<'_>) -> Done {
    let count = call.words.number("-n")?.unwrap_or(1000_usize);
    let depth = call.words.number("-c")?.unwrap_or(1_usize);
    let bytes = call.words.number("-b")?.unwrap_or(100_usize);
    if count == 0 || depth == 0 {
        return Err(CommandError::Malformed("-n and -c must be 1 or more".to_owned()));
    }
    let data = vec![b'x'; bytes];
    // A znode of its own, so that nothing of the user's is touched.
    let acl = [Acl::world(Acl::ALL)];
    let sequential = Mode::Plain { ephemeral: false, sequential: true };
    let root = call.client.create(&crate::client::join(call.path(), "bench-"), None, &acl, sequential)?;
    let paths: Vec<_> = (0..count).map(|number| crate::client::join(&root, &format!("{number:010}"))).collect();
    let phases: [(&str, Begin<'_>); 4] = [
        ("create", &|client, path| client.begin_create(path, &data)),
        ("get", &|client, path| client.begin_get(path)),
        ("set", &|client, path| client.begin_set(path, &data)),
        ("delete", &|client, path| client.begin_delete(path)),
    ];
    let measured = phases.iter().try_for_each(|(name, begin)| {
        let (latencies, elapsed) = measure(call.client, &paths, depth, begin)?;
        print(call, name, latencies, elapsed)
    });
    // Also after a failure: what has been created goes again.
    let cleared = call.client.subtree(&root).and_then(|left| {
        left.iter().rev().try_for_each(|path| match call.client.delete(path, -1) {
            Err(error) if error.code() == Some(ErrorCode::NO_NODE) => Ok(()),
            other => other,
        })
    });
    measured.and(cleared)
}

/// The latencies in order, and how long all of it took.
fn measure(
    client: &Client,
    paths: &[String],
    depth: usize,
    begin: Begin<'_>,
) -> Result<(Vec<Duration>, Duration), CommandError> {
    let started = Instant::now();
    let mut under_way: VecDeque<(Instant, Pending)> = VecDeque::with_capacity(depth);
    let mut latencies = Vec::with_capacity(paths.len());
    let mut finish = |under_way: &mut VecDeque<(Instant, Pending)>| match under_way.pop_front() {
        Some((since, pending)) => {
            pending.wait()?;
            latencies.push(since.elapsed());
            Ok::<_, CommandError>(())
        }
        None => Ok(()),
    };
    for path in paths {
        if under_way.len() == depth {
            finish(&mut under_way)?;
        }
        under_way.push_back((Instant::now(), begin(client, path)?));
    }
    while !under_way.is_empty() {
        finish(&mut under_way)?;
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok((latencies, elapsed))
}

fn print(call: &mut Call<'_>, name: &str, latencies: Vec<Duration>, elapsed: Duration) -> Done {
    let rate = latencies.len() as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
    let [p50, p95, p99, p999, max] = [500, 950, 990, 999, 1000].map(|rank| milliseconds(&latencies, rank));
    if call.json {
        let object = json!({
            "operation": name, "count": latencies.len(), "perSecond": rate.round(),
            "p50Ms": p50, "p95Ms": p95, "p99Ms": p99, "p999Ms": p999, "maxMs": max,
        });
        return call.answer(object);
    }
    writeln!(
        call.out,
        "{name:<7} {:>8} operations  {rate:>10.0}/s  p50 {p50:.3} ms  p95 {p95:.3} ms  p99 {p99:.3} ms  p99.9 {p999:.3} ms  max {max:.3} ms",
        latencies.len()
    )?;
    Ok(call.out.flush()?)
}

/// The latency that so many in a thousand do not exceed, in milliseconds.
fn milliseconds(sorted: &[Duration], rank: usize) -> f64 {
    let place = (sorted.len() * rank).div_ceil(1000).max(1) - 1;
    sorted.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_least_that_so_many_do_not_exceed() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let found = [500, 950, 990, 999, 1000].map(|rank| milliseconds(&sorted, rank));
        assert_eq!(found, [100.0, 190.0, 198.0, 200.0, 200.0]);
        assert_eq!(milliseconds(&sorted[..1], 500), 1.0);
        assert_eq!(milliseconds(&[], 500), 0.0);
    }
}
