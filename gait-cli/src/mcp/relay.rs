//! The one that decides: it takes what both sides say in turn, asks the session, and does what it is told.
//!
//! A client ends a session by closing our input; then the server's is closed once nobody waits for an answer, and a
//! server that stays is ended. A server that ends, or a signal, ends the session too. Whatever happens, who waits is
//! told and the records are complete.

use super::pipe::{self, Said, Writer};
use super::server::{Server, ended};
use super::spool::Spool;
use gait_core::mcp::frame::Frame;
use gait_core::mcp::message::without_line_end;
use gait_core::mcp::session::{Effect, Session, Step};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer what is asked when the client goes.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a server may take to end after its input was closed. Clients give us two seconds in all.
const GRACE: Duration = Duration::from_millis(1500);
/// How long it may take to end after it was asked to; and what a killed one takes to be gone.
const LAST_GRACE: Duration = Duration::from_millis(400);
/// How long the client may take to read the last answers.
const FLUSH: Duration = Duration::from_secs(2);
/// Notes that are printed; a client could cause any number.
const MOST_NOTES: u32 = 200;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The client closed its end.
    Client,
    /// The server ended first.
    Server,
    /// We were told to.
    Signal,
}

impl EndedBy {
    /// Its word in answers and records.
    pub const fn word(self) -> &'static str {
        match self {
            EndedBy::Client => "client",
            EndedBy::Server => "server",
            EndedBy::Signal => "signal",
        }
    }
}

enum Event {
    Client(Said),
    /// Nobody reads our output.
    ClientGone,
    Server(Said),
    /// It does not read its input.
    ServerDeaf,
    Exited(ExitStatus),
    Signal,
}

/// What happens at the next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    CloseInput,
    Terminate,
    Kill,
    Finish,
}

struct Relay<'s> {
    session: &'s mut Session,
    spool: &'s mut Spool,
    server: Server,
    to_server: Writer,
    to_client: Writer,
    ended_by: Option<EndedBy>,
    /// The server said that nothing more comes.
    is_silent: bool,
    exited: Option<ExitStatus>,
    deadline: Option<(Instant, Next)>,
    notes: u32,
}

/// Runs a session to its end: the server `command` on one side, our standard input and output on the other.
///
/// # Errors
/// The server can't be started: in words.
pub fn run(
    session: &mut Session,
    spool: &mut Spool,
    command: &[OsString],
    hidden: &[OsString],
    limit_bytes: usize,
) -> Result<EndedBy, String> {
    let (events, queue) = mpsc::sync_channel(8);
    let tell = |event: fn() -> Event, events: &SyncSender<Event>| {
        let events = events.clone();
        move || {
            let _ = events.send(event());
        }
    };
    let on_exit = events.clone();
    let mut server = Server::start(command, hidden, move |status| {
        let _ = on_exit.send(Event::Exited(status));
    })?;
    let (Some(input), Some(output)) = (server.input.take(), server.output.take()) else {
        return Err("the server has no pipes".into());
    };
    // Not `stdout()` itself: a writer that waits for the client would hold its lock.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let out = out.map_err(|error| format!("standard output: {error}"))?;
    let to_server = Writer::start(input, tell(|| Event::ServerDeaf, &events));
    let to_client = Writer::start(out, tell(|| Event::ClientGone, &events));
    // What the client says may be answered right here, so both queues count; what the server says goes one way.
    let (server_queue, client_queue) = (Arc::clone(&to_server.backlog), Arc::clone(&to_client.backlog));
    pipe::read(io::stdin(), limit_bytes, vec![server_queue, Arc::clone(&client_queue)], events.clone(), Event::Client);
    pipe::read(output, limit_bytes, vec![client_queue], events.clone(), Event::Server);
    listen_to_signals(events)?;
    let mut relay = Relay {
        session,
        spool,
        server,
        to_server,
        to_client,
        ended_by: None,
        is_silent: false,
        exited: None,
        deadline: None,
        notes: 0,
    };
    Ok(relay.run(&queue))
}

fn listen_to_signals(events: SyncSender<Event>) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("signals: {error}"))?;
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = events.send(Event::Signal);
        }
    });
    Ok(())
}

impl Relay<'_> {
    fn run(&mut self, queue: &Receiver<Event>) -> EndedBy {
        loop {
            let event = match self.deadline {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some((at, _)) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) if self.is_over_at_deadline() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.is_silent && self.exited.is_some() {
                break;
            }
        }
        self.finish()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Client(Said::Frame(frame)) => self.client_frame(frame),
            Event::Client(Said::End) => self.client_ended(DRAIN),
            // Nobody wants the answers.
            Event::ClientGone => self.client_ended(Duration::ZERO),
            Event::Server(Said::Frame(frame)) => self.server_frame(frame),
            Event::Server(Said::End) => {
                self.is_silent = true;
                self.server_ended();
            }
            Event::ServerDeaf => self.server_ended(),
            Event::Exited(status) => {
                self.exited = Some(status);
                self.ended_by.get_or_insert(EndedBy::Server);
                // What it left in its group would hold its output open.
                self.server.terminate();
                self.at(LAST_GRACE, Next::Kill);
            }
            Event::Signal => {
                self.ended_by.get_or_insert(EndedBy::Signal);
                self.to_server.close();
                self.server.terminate();
                self.at(LAST_GRACE, Next::Kill);
            }
        }
    }

    fn client_frame(&mut self, frame: Frame) {
        // After its end nothing is forwarded: the server is being ended.
        if self.ended_by.is_some() {
            return;
        }
        match frame {
            Frame::Line(line) => match self.session.client_line(&line, self.spool) {
                Step { effect: Effect::Forward, note } => {
                    self.note(note);
                    self.to_server.write(with_line_end(&line));
                }
                step => self.answer(step),
            },
            Frame::TooLong { length, found } => {
                let step = self.session.client_too_long(length, &found);
                self.answer(step);
            }
        }
    }

    fn server_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Line(line) => match self.session.server_line(&line, self.spool) {
                Step { effect: Effect::Forward, note } => {
                    self.note(note);
                    self.to_client.write(with_line_end(&line));
                }
                step => self.answer(step),
            },
            Frame::TooLong { length, found } => {
                let step = self.session.server_too_long(length, &found, self.spool);
                self.answer(step);
            }
        }
        if self.ended_by == Some(EndedBy::Client) && !self.session.awaits_answers() {
            self.close_input();
        }
    }

    fn answer(&mut self, step: Step) {
        self.note(step.note);
        if let Effect::Answer(line) = step.effect {
            self.to_client.write(line);
        }
    }

    fn client_ended(&mut self, drain: Duration) {
        if self.ended_by.is_some() && !(drain.is_zero() && self.ended_by == Some(EndedBy::Client)) {
            return;
        }
        self.ended_by = Some(EndedBy::Client);
        if drain.is_zero() || !self.session.awaits_answers() {
            self.close_input();
        } else {
            self.at(drain, Next::CloseInput);
        }
    }

    fn close_input(&mut self) {
        if !self.to_server.is_closed() {
            self.to_server.close();
            self.at(GRACE, Next::Terminate);
        }
    }

    fn server_ended(&mut self) {
        if self.ended_by.is_none() {
            self.ended_by = Some(EndedBy::Server);
            self.to_server.close();
            self.at(GRACE, Next::Terminate);
        }
    }

    fn at(&mut self, after: Duration, next: Next) {
        self.deadline = Some((Instant::now() + after, next));
    }

    /// Does what is due, and tells whether nothing more is waited for.
    fn is_over_at_deadline(&mut self) -> bool {
        match self.deadline.map(|(_, next)| next) {
            Some(Next::CloseInput) => self.close_input(),
            Some(Next::Terminate) => {
                self.server.terminate();
                self.at(LAST_GRACE, Next::Kill);
            }
            Some(Next::Kill) => {
                self.server.kill();
                self.at(LAST_GRACE, Next::Finish);
            }
            Some(Next::Finish) | None => return true,
        }
        false
    }

    fn finish(&mut self) -> EndedBy {
        let ended_by = self.ended_by.unwrap_or(EndedBy::Server);
        let why = match ended_by {
            EndedBy::Signal => "the session was ended by a signal".to_owned(),
            EndedBy::Client | EndedBy::Server => ended(self.exited),
        };
        for line in self.session.server_gone(&why, self.spool) {
            self.to_client.write(line);
        }
        if ended_by == EndedBy::Server {
            self.note(Some(format!("the server ended first: {}", ended(self.exited))));
        }
        self.to_client.backlog.wait_until_written(FLUSH);
        ended_by
    }

    fn note(&mut self, note: Option<String>) {
        let Some(note) = note.filter(|_| self.notes <= MOST_NOTES) else { return };
        self.notes += 1;
        let note = if self.notes > MOST_NOTES { "there are more notes like these".to_owned() } else { note };
        // Nobody can be told that stderr is gone.
        let _ = io::Write::write_all(&mut io::stderr(), format!("gait: {}\n", shown(&note)).as_bytes());
    }
}

/// `note` without characters that a terminal would act upon.
fn shown(note: &str) -> String {
    note.chars().map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

fn with_line_end(line: &[u8]) -> Vec<u8> {
    let line = without_line_end(line);
    let mut whole = Vec::with_capacity(line.len() + 1);
    whole.extend_from_slice(line);
    whole.push(b'\n');
    whole
}
