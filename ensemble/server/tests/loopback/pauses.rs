//! The pause monitor, on a process that the machine stops and on one whose disk is slow.

use crate::admin::get;
use crate::client::mntr;
use crate::process::Process;
use crate::world::{Server, wait_for};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

fn measured(address: SocketAddr, key: &str) -> Option<f64> {
    mntr(address, key)?.parse().ok()
}

#[test]
fn a_process_that_is_stopped_says_so_once() {
    const PAUSE: Duration = Duration::from_millis(700);
    let admin = crate::world::free_port(std::net::Ipv4Addr::LOCALHOST.into());
    let server = Server::new(&format!(
        "clientPort=0\nadmin.serverPort={admin}\njvm.pause.sleep.time.ms=20\njvm.pause.info-threshold.ms=300\n\
         jvm.pause.warn-threshold.ms=500\nensemble.pause.thresholdMs=250\n",
    ));
    server.write_config();
    let process = Process::start(&["server", "--config", server.directory().join("zoo.cfg").to_str().unwrap()]);
    let address = process.client_port();
    process.signal("STOP");
    std::thread::sleep(PAUSE);
    process.signal("CONT");
    let line = process.wait_for_line(&["WARN", "a pause", "cause=\"stopped\"", "elapsed_ms="]);
    let logged = line.split("elapsed_ms=").nth(1).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(logged >= 500.0, "{line}");
    wait_for("the pause in the metrics", || {
        (measured(address, "zk_max_jvm_pause_time_ms")? >= logged).then_some(())?;
        let longest = measured(address, "zk_stopped_ensemble_pause_seconds_max")?;
        assert!((longest * 1000.0 - logged).abs() < 2.0, "{longest} s and {logged} ms");
        (measured(address, "zk_stopped_ensemble_pauses_total")? >= 1.0).then_some(())
    });
    let (_, body) = get(SocketAddr::from(([127, 0, 0, 1], admin)), "/status");
    let status: Value = serde_json::from_str(&body).unwrap();
    let told = status["pauses"].as_array().unwrap().iter().find(|pause| pause["elapsedMs"] == logged as u64).unwrap();
    assert_eq!((&told["cause"], &told["place"]), (&Value::from("stopped"), &Value::Null));
    let ended = told["endedMs"].as_i64().unwrap();
    assert!(ended > 1_700_000_000_000);
    // A machine that is busy may hold the loop up as well, at another time.
    let of_then = |pause: &&Value| (pause["endedMs"].as_i64().unwrap() - ended).abs() < 100;
    let told_then = status["pauses"].as_array().unwrap().iter().filter(of_then).count();
    assert_eq!(told_then, 1, "it is told once: {body}");
}
