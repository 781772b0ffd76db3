//! The pause monitor, on a process that the machine stops.

use crate::client::exchange;
use crate::process::Process;
use crate::world::{Server, wait_for};
use std::time::Duration;

#[test]
fn a_pause_of_the_process_is_logged_and_measured() {
    const PAUSE: Duration = Duration::from_millis(700);
    let server = Server::new(
        "clientPort=0\njvm.pause.sleep.time.ms=20\njvm.pause.info-threshold.ms=300\njvm.pause.warn-threshold.ms=500\n",
    );
    server.write_config();
    let process = Process::start(&["server", "--config", server.directory().join("zoo.cfg").to_str().unwrap()]);
    let address = process.client_port();
    process.signal("STOP");
    std::thread::sleep(PAUSE);
    process.signal("CONT");
    let line = process.wait_for_line(&["WARN", "the process was paused", "elapsed_ms="]);
    let logged: u64 = line.split("elapsed_ms=").nth(1).unwrap().trim().parse().unwrap();
    assert!(logged >= 500, "{line}");
    wait_for("the pause in the metrics", || {
        let text = exchange(address, b"mntr");
        let max = text.lines().find_map(|line| line.strip_prefix("zk_max_jvm_pause_time_ms\t"))?;
        (max.parse::<u64>().unwrap() >= logged).then_some(())
    });
}
