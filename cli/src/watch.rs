//! `casm watch`: who is there, live and full-screen.

mod app;
mod draw;
mod screen;

use crate::{
    args::WatchArgs, failure::Failure, interrupt::Interrupt, json::Line, output::Output, run::leave,
};
use app::App;
use casm::{Error, ErrorKind, Node, cluster::Query};
use crossterm::event::{self, Event, KeyEventKind};
use screen::Screen;
use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// The pace at which the screen is redrawn without a reason.
const FRAME: Duration = Duration::from_millis(250);

/// Joins as an observer, and shows the view until the user quits.
pub async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let message = "watch needs a terminal; without one, use `casm ls` or `casm run --json`";
        return Err(Error::new(ErrorKind::Config, message).into());
    }
    let query = args.query.query()?;
    let config = args.node.observer()?;
    let mut interrupt = Interrupt::listen().await?;
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = interrupt.wait() => return Ok(()),
    };
    let result = async {
        args.node.attend(&node).await?;
        let output = Output::new(false);
        let mut screen = Screen::open(output)?;
        let shown = tokio::select! {
            result = show(&node, &query, &mut screen) => result,
            failure = output.failure() => Err(failure),
            () = interrupt.wait() => Ok(()),
        };
        screen.close();
        shown
    }
    .await;
    leave(&node).await;
    result
}

async fn show(node: &Node, query: &Query, screen: &mut Screen) -> Result<(), Failure> {
    let mut app = App::new(node.namespace().as_str());
    let mut events = node.events();
    let mut inputs = inputs();
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event.ok_or_else(|| Error::closed("node"))?;
                if let Some(line) = Line::of(&event) {
                    app.tell(&line);
                }
                // What comes at once is drawn at once.
                continue;
            }
            input = inputs.recv() => match input {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => app.press(key),
                Some(_) => (),
                None => return Ok(()),
            },
            _ = frames.tick() => (),
        }
        if app.quits() {
            return Ok(());
        }
        let records = node.view().iter(query.clone()).map(|r| (&r).into()).collect();
        app.see(records, Instant::now());
        screen.draw(|frame| draw::draw(frame, &mut app))?;
    }
}

/// What the user does at the keyboard.
fn inputs() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(64);
    // A thread of its own: reading a terminal blocks.
    std::thread::spawn(move || {
        while let Ok(input) = event::read() {
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    });
    receiver
}
