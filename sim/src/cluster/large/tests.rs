use super::{BEGIN, Report, Scenario, World, checked, simulate};
use crate::cluster::Args;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

pub(super) fn args(line: &str) -> Args {
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
            let line = format!("--nodes 40 --scenario {scenario} --tables {tables}");
            let report = report(&line);
            assert!(report.detect_p99_s.unwrap() <= longest);
            assert_eq!((report.crashes, report.undetected, report.false_drops), (10, 0, 0));
            assert_eq!(report.by_suspicion as usize, report.detections);
        }
    }
}

#[test]
fn the_model_of_a_table_decides_as_a_real_one_does() {
    for line in ["rack --loss 0.2", "flap --probation 60s", "halves", "flash"] {
        let line = format!("--nodes 30 --for 40s --scenario {line}");
        let (args, time) = checked(&args(&line)).unwrap();
        let world = World::new(&args, BEGIN + time).run();
        for node in (0..30).filter(|node| world.up[*node]) {
            let agree = (0..30).all(|source| world.views.agree(node, source));
            assert!(agree, "{line}: node {node}");
        }
        let (real, model) = (report(&line), report(&format!("{line} --tables 0")));
        assert_eq!((real.detections, real.parted_drops), (model.detections, model.parted_drops));
    }
}

#[test]
fn who_answers_no_pings_but_is_heard_is_dropped_by_nobody() {
    let report = report("--nodes 40 --scenario mute --for 1m");
    assert!(report.suspicions["answered"] > 5 && report.suspicions["cleared"] > 100);
    assert_eq!(report.false_drops, 0);
}

#[test]
fn liars_bring_about_nothing_but_heartbeats() {
    let report = report("--nodes 40 --scenario liars --for 20s");
    assert!(report.heartbeats_per_s > 15.0 && report.suspicions["cleared"] > 100);
    assert_eq!(report.false_drops, 0);
}

#[test]
fn strangers_stretch_the_ttl_to_a_minute_and_no_further() {
    let report = report("--nodes 30 --scenario sybils");
    assert_eq!((report.ttl_highest_s, report.ttl_most_s), (60.0, 10.0));
    assert!(report.detect_p99_s.unwrap() <= 6.0);
}

#[test]
fn lost_pings_are_answered_for() {
    let report = report("--nodes 40 --scenario steady --loss 0.2 --for 2m");
    assert!(report.pings_lost > 10 && report.suspicions["answered"] > 0);
    assert_eq!(report.false_drops, 0);
}

#[test]
fn all_that_start_at_once_have_full_views_within_a_minute() {
    let report = report("--nodes 50 --scenario flash --for 1m");
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
