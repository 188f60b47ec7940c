//! `casm demo`: a small cluster on this machine, of real processes.

mod child;
pub mod greet;
mod screen;
mod tracker;

use crate::{
    args::{DemoArgs, LogArgs},
    failure::Failure,
    interrupt::Interrupt,
    json::Line,
    output::Output,
    text,
};
use child::{QUEUE, Running, Told};
use futures::future::join_all;
use screen::Screen;
use serde::Serialize;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracker::Tracker;

/// The pace at which the live view is redrawn.
const FRAME: Duration = Duration::from_millis(100);

/// A line of one of the nodes.
#[derive(Serialize)]
struct Numbered<'a> {
    #[serde(flatten)]
    line: &'a Line,
    node: usize,
}

/// Starts the nodes, shows how they find each other, and sums up.
pub async fn demo(args: &DemoArgs, log: &LogArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let mut interrupt = Interrupt::listen().await?;
    let (told, mut tell) = mpsc::channel(QUEUE);
    // Random, so that a demo neither joins another one nor a real cluster.
    let namespace = format!("demo-{}", &casm::PeerId::random().to_base58()[38..]);
    let mut nodes = (0..args.nodes.into())
        .map(|number| Running::start(number, &namespace, &log.to_options(), told.clone()))
        .collect::<casm::Result<Vec<_>>>()?;
    drop(told);

    let start = Instant::now();
    let end = sleep_until(start + args.duration);
    let mut running = nodes.len();
    let mut tracker = Tracker::new(nodes.len());
    let mut show = Show::new(output);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            () = interrupt.wait() => break,
            failure = output.failure() => return Err(failure),
            Some((number, at, told)) = tell.recv() => match told {
                Told::Line(line) => {
                    tracker.take(number, &line, at);
                    show.line(number, &line, start.elapsed(), &tracker)?;
                }
                Told::Ended => {
                    tracing::error!("node-{} ended by itself", number + 1);
                    running -= 1;
                    if running == 0 {
                        break;
                    }
                }
            },
            _ = frames.tick() => show.frame(&tracker, start.elapsed())?,
        }
    }
    show.frame(&tracker, start.elapsed())?;
    // Nobody reads what they print any more: it must not hold them up.
    drop(tell);
    nodes.iter_mut().for_each(Running::ask_to_leave);
    join_all(nodes.into_iter().map(Running::wait)).await;
    output.line(&tracker.summary())?;
    if tracker.is_complete() { Ok(()) } else { Err(Failure::Told) }
}

/// How a demo is shown: redrawn in place on a terminal, as lines elsewhere.
struct Show {
    output: Output,
    screen: Option<Screen>,
}

impl Show {
    fn new(output: Output) -> Self {
        Self { output, screen: output.is_terminal().then(Screen::default) }
    }

    fn line(
        &self,
        number: usize,
        line: &Line,
        elapsed: Duration,
        tracker: &Tracker,
    ) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.json(&Numbered { line, node: number + 1 });
        }
        let shown = matches!(
            line,
            Line::Listening { .. }
                | Line::PeerJoined { .. }
                | Line::PeerLeft { .. }
                | Line::Error { .. }
                | Line::Dropped { .. }
                | Line::Reply { .. }
        );
        if self.screen.is_some() || !shown {
            return Ok(());
        }
        let full = tracker.full();
        let nodes = tracker.nodes().len();
        let text = text::of(line, false);
        let text = text.lines().next().unwrap_or_default();
        let node = number + 1;
        self.output.text(&format!(
            "{:>6.2} s  node-{node:<2} {text}  [{full}/{nodes} full]",
            elapsed.as_secs_f32()
        ))
    }

    fn frame(&mut self, tracker: &Tracker, elapsed: Duration) -> Result<(), Failure> {
        match &mut self.screen {
            // The next one shows what this would.
            Some(_) if self.output.is_behind() => Ok(()),
            Some(screen) => {
                let mut frame = Vec::new();
                screen.draw(tracker, elapsed, &mut frame).map_err(Failure::output)?;
                self.output.write(frame)
            }
            None => Ok(()),
        }
    }
}
