use super::{Report, Scenario, simulate};
use crate::cluster::Args;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    Cli::parse_from(std::iter::once("cluster").chain(line.split_whitespace())).args
}

fn report(line: &str) -> Report {
    let report = simulate(&args(line)).unwrap();
    println!("{}", serde_json::to_string(&report).unwrap());
    report
}

#[test]
fn whoever_crashes_is_seen_by_all_within_seconds_and_nobody_else_is_dropped() {
    for tables in [0, 1000] {
        for (scenario, longest) in [("crash", 6.0), ("host", 9.0)] {
            let line = format!("--nodes 60 --scenario {scenario} --tables {tables}");
            let report = report(&line);
            assert!(report.detect_p99_s.unwrap() <= longest);
            assert_eq!((report.crashes, report.undetected, report.false_drops), (10, 0, 0));
            assert_eq!(report.by_suspicion as usize, report.detections);
        }
    }
}

#[test]
fn the_model_of_a_table_decides_as_a_real_one_does() {
    for line in ["--nodes 40 --scenario rack --loss 0.2", "--nodes 40 --scenario flap"] {
        let real = report(&format!("{line} --for 1m --tables 1000 --probation 60s"));
        let model = report(&format!("{line} --for 1m --tables 0 --probation 60s"));
        assert!((real.detections as f64 / model.detections as f64 - 1.0).abs() < 0.1);
    }
}

#[test]
fn lost_pings_are_answered_for() {
    let report = report("--nodes 60 --scenario steady --loss 0.2 --for 2m");
    assert!(report.pings_lost > 10 && report.suspicions["answered"] > 0);
    assert_eq!(report.false_drops, 0);
}

#[test]
fn all_that_start_at_once_have_full_views_within_a_minute() {
    let report = report("--nodes 80 --scenario flash --for 1m");
    assert!(report.full_s.unwrap() <= 60.0);
}

#[test]
fn equal_seeds_give_equal_results() {
    let line = "--nodes 30 --scenario rack --loss 0.1 --for 20s";
    assert_eq!(report(line), report(line));
    assert_ne!(report(line), report(&format!("{line} --seed 2")));
}

#[test]
fn arguments_out_of_range_are_refused() {
    for bad in ["--nodes 2", "--connections 1", "--observers 0", "--loss 1", "--for 2days"] {
        assert!(simulate(&args(&format!("--scenario steady {bad}"))).is_err(), "{bad}");
    }
    assert_eq!(Scenario::Steady.name(), "steady");
}
