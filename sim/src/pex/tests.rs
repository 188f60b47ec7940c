//! The figures of `docs/simulator.md` in small, with some room: each fails if
//! the rules lose the property.

use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    println!("pex {line}");
    Command::parse_from(std::iter::once("pex").chain(line.split(' '))).args
}

/// The lines of one run of CASM's rules.
fn lines(line: &str) -> Vec<Line> {
    let args = args(line);
    let mut lines = Vec::new();
    if args.by_network() {
        let rules = casm::Casm::<casm::Located>::new(&args);
        run_one(&args, args.seed, &rules, |line| lines.push(line));
    } else {
        let rules = casm::Casm::<casm::Number>::new(&args);
        run_one(&args, args.seed, &rules, |line| lines.push(line));
    }
    lines
}

/// The last line of one run.
fn last(line: &str) -> Line {
    let last = lines(&format!("{line} --last")).pop().expect("a line");
    println!("{last:?}");
    last
}

#[test]
fn the_dead_are_purged_in_five_cycles() {
    for seed in 1..4 {
        let line = last(&format!("--nodes 300 --kill 0.5 --at 10 --cycles 14 --seed {seed}"));
        assert!(line.dead_links < 0.03);
    }
    let line = last("--nodes 24 --kill 0.5 --at 10 --cycles 16");
    assert_eq!((line.dead_links, line.indegree_mean, line.components), (0.0, 11.0, 1));
}

#[test]
fn the_graph_is_as_even_as_a_random_one() {
    for seed in 1..3 {
        let line = last(&format!("--nodes 300 --cycles 50 --seed {seed}"));
        // A random graph of this size has 5.27 and 0.20.
        assert!(line.indegree_sd < 5.27);
        assert!(line.clustering < 0.2);
    }
}

#[test]
fn a_star_becomes_a_random_graph() {
    let line = last("--nodes 300 --start star --cycles 40");
    assert_eq!((line.indegree_mean, line.components), (31.0, 1));
    assert!(line.indegree_sd < 7.0);
}

#[test]
fn partitions_heal() {
    for lasts in [1, 12] {
        let line = format!("--nodes 300 --partition 0.5 --at 5 --for {lasts} --cycles 30 --heal");
        let args = args(&line);
        for seed in 1..4 {
            let healing = heal(&args, seed, &casm::Casm::<casm::Number>::new(&args));
            println!("{healing:?}");
            assert!(healing.healed_after.is_some_and(|cycles| cycles <= 2));
        }
    }
}

#[test]
fn the_hostile_are_held_to_their_share() {
    for (fraction, more) in [
        (0.1, "--at 11 --attack 4"),
        (0.1, "--at 11 --attack 8"),
        (0.1, "--at 11"),
        (0.3, "--at 1 --attack 6"),
        (0.3, "--at 1"),
    ] {
        let line = last(&format!("--nodes 300 --hostile {fraction} --cycles 50 {more}"));
        assert!(line.hostile_share < 1.5 * fraction);
        assert!(line.hostile_share > 0.0);
    }
}

/// Half of the nodes are one hand's, in a network of their own or in many.
#[test]
fn one_network_does_not_buy_a_view() {
    let half = "--nodes 300 --hostile 0.5 --at 11 --attack 6 --cycles 100";
    let many = last(&format!("{half} --hostile-networks 150"));
    let one = last(&format!("{half} --hostile-networks 1"));
    // Four of 31 places go to callers, whoever they are.
    assert!(many.hostile_share > 0.45, "with as many networks as others they have their share");
    assert!(one.hostile_share < 0.3);
}

/// Those of one network say that each is in another: until it is met, and then it
/// counts in the one from which it was.
#[test]
fn who_lies_about_its_network_gains_little() {
    let half = "--nodes 300 --hostile 0.5 --at 11 --attack 6 --cycles 100";
    let lying = last(&format!("{half} --hostile-networks 1 --lying"));
    assert!(lying.hostile_share < 0.3);
}

#[test]
fn a_graph_of_nodes_in_networks_is_as_even_as_without() {
    for networks in [300, 30, 1] {
        let line = last(&format!("--nodes 300 --cycles 50 --networks {networks}"));
        assert_eq!((line.components, line.indegree_mean), (1, 31.0));
        assert!(line.indegree_sd < 5.6, "{networks} networks");
        assert!(line.clustering < 0.2);
    }
}

#[test]
fn a_flash_crowd_is_taken_in() {
    let line = last("--nodes 300 --join 300 --at 5 --cycles 14");
    assert_eq!((line.components, line.indegree_mean), (1, 31.0));
    assert!(line.indegree_node0 < 45, "ten cycles after, a mean of 31");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            lines("--nodes 1000 --cycles 5 --kill 0.2 --join 50 --hostile 0.1 --loss 0.1 --at 3")
        })
    };
    let one = on(1);
    assert_eq!(one.len(), 5);
    assert_eq!(on(4), one);
    assert_eq!(on(7), one);
}

#[test]
fn percentiles_count_those_that_never_heal() {
    let healed = |after| Healing { seed: 0, healed_after: after };
    let runs: Vec<Healing> = [Some(1), None, Some(3), Some(1)].map(healed).into();
    let all = report::Percentiles::new(&runs);
    assert_eq!(all.healed_after_p50, Some(1));
    assert_eq!(all.healed_after_p99, None);
    let all = report::Percentiles::new(&runs[..1]);
    assert_eq!((all.healed_after_p99, all.healed_after_max), (Some(1), Some(1)));
}
