//! A relay between the extension and Azurite: it sees each request, and does to it what networks and busy storage do.
//!
//! Promises: one request a connection, taken whole before anything is done with it, so that each harm hits a request that is known;
//! a [`Gate`] stops the first request that is meant, before storage has it or when it has done what was asked, for as long as the
//! test likes. Never changes what a request asks for.

use crate::azurite::Azurite;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// It is taken and never answered.
    Stall,
    /// The connection is closed; storage never hears of it.
    Reset,
    /// Answered with this status; storage never hears of it.
    Status(u16),
    /// Storage does what it says, and the connection is closed instead of an answer.
    Unanswered,
    /// Storage does what it says, and the answer is that it is busy.
    DoneYetBusy,
    /// So many bytes of the answer, head and all; then the connection is closed.
    Truncate(usize),
    /// Half of the body; then the connection is closed.
    HalfBody,
    /// The answer says that its body is longer than it is.
    TooLong,
    /// The answer says that its body is shorter than it is.
    TooShort,
}

/// To which requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Fine,
    Always(Harm),
    /// To one of so many.
    Sometimes(Harm, u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// Storage has not heard of it.
    Before,
    /// Storage has done it, and nobody knows yet.
    After,
}

/// The first request of this method of which the path holds these words stops here.
#[derive(Clone, Debug)]
pub struct Gate {
    pub method: &'static str,
    pub words: Vec<String>,
    pub side: Side,
}

pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    state: Mutex<State>,
    changed: Condvar,
    dice: AtomicU64,
}

struct State {
    mood: Mood,
    open: Vec<TcpStream>,
    gate: Option<Gate>,
    /// What stands at the gate.
    held: Option<String>,
    /// Gates that were opened: whoever stands at an earlier one goes on.
    opened: u64,
    harmed: u64,
    requests: u64,
}

impl Relay {
    pub fn to(azurite: &Azurite) -> Relay {
        let target = azurite.endpoint().split('/').nth(2).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mood: Mood::Fine, open: vec![], gate: None, held: None, opened: 0, harmed: 0, requests: 0 };
        let shared =
            Arc::new(Shared { target, state: Mutex::new(state), changed: Condvar::new(), dice: AtomicU64::new(1) });
        let of_thread = shared.clone();
        // Ends with the process: a listener can't be told to stop.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = of_thread.clone();
                std::thread::spawn(move || shared.serve(client));
            }
        });
        Relay { address, shared }
    }

    pub fn endpoint(&self, azurite: &Azurite) -> String {
        format!("http://{}/{}", self.address, azurite.account())
    }

    /// Changes its mood; connections that are open end.
    pub fn is(&self, mood: Mood) {
        let mut state = self.shared.state.lock().unwrap();
        state.mood = mood;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many requests came by so far.
    pub fn requests(&self) -> u64 {
        self.shared.state.lock().unwrap().requests
    }

    /// How many requests were harmed so far.
    pub fn harmed(&self) -> u64 {
        self.shared.state.lock().unwrap().harmed
    }

    /// Sets up a gate for the next request that it means.
    pub fn gate(&self, gate: Gate) {
        let mut state = self.shared.state.lock().unwrap();
        (state.gate, state.held) = (Some(gate), None);
    }

    /// Waits until a request stands at the gate; gives what it is.
    pub fn wait_for_held(&self, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state.lock().unwrap();
        while state.held.is_none() && Instant::now() < deadline {
            state = self.shared.changed.wait_timeout(state, Duration::from_millis(100)).unwrap().0;
        }
        state.held.clone()
    }

    /// Opens the gate: what stood there goes on.
    pub fn open_gate(&self) {
        let mut state = self.shared.state.lock().unwrap();
        (state.gate, state.held) = (None, None);
        state.opened += 1;
        self.shared.changed.notify_all();
    }
}

/// A request, or an answer: its head with the empty line, and its body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    /// What a client sends on a connection.
    fn request(stream: &mut TcpStream) -> Option<Message> {
        let mut text = Vec::new();
        let mut buffer = [0; 16384];
        let body_from = loop {
            let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
            text.extend_from_slice(&buffer[..n]);
            if let Some(end) = end_of_head(&text) {
                break end;
            }
        };
        let mut body = text.split_off(body_from);
        let length = header(&text, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        while body.len() < length {
            let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
            body.extend_from_slice(&buffer[..n]);
        }
        Some(Message { head: text, body })
    }

    /// What storage says to it, on a connection of its own.
    fn answer(&self, target: &str) -> Option<Message> {
        let mut server = TcpStream::connect(target).ok()?;
        let head = with_header(&self.head, "connection", "close");
        server.write_all(&head).and_then(|()| server.write_all(&self.body)).ok()?;
        let mut text = Vec::new();
        server.read_to_end(&mut text).ok()?;
        let body_from = end_of_head(&text)?;
        let body = text.split_off(body_from);
        Some(Message { head: text, body })
    }

    /// The method and the path, as `GET /account/container/path?query`.
    fn line(&self) -> String {
        let line = self.head.split(|b| *b == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        line.rsplit_once(' ').map_or_else(|| line.to_string(), |(start, _)| start.to_owned())
    }
}

fn end_of_head(text: &[u8]) -> Option<usize> {
    text.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn header(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let value = head.lines().find_map(|line| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)));
    value.map(|(_, value)| value.trim().to_owned())
}

fn with_header(head: &[u8], name: &str, value: &str) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let others = head.lines().filter(|line| !line.is_empty());
    let others =
        others.filter(|line| line.split_once(':').is_none_or(|(found, _)| !found.trim().eq_ignore_ascii_case(name)));
    let mut lines: Vec<String> = others.map(str::to_owned).collect();
    lines.push(format!("{name}: {value}"));
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

impl Shared {
    fn serve(&self, mut client: TcpStream) {
        if self.state.lock().map(|mut state| state.open.extend(client.try_clone())).is_ok() {
            let _ = self.answer(&mut client);
        }
        let _ = client.shutdown(Shutdown::Both);
        // Those that have ended are let go of.
        if let Ok(mut state) = self.state.lock() {
            state.open.retain(|stream| stream.peer_addr().is_ok());
        }
    }

    /// What befalls the next request.
    fn fate(&self) -> Option<Harm> {
        let mut state = self.state.lock().unwrap();
        let harm = match state.mood {
            Mood::Fine => None,
            Mood::Always(harm) => Some(harm),
            Mood::Sometimes(harm, of) => {
                let drawn = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
                ((drawn ^ (drawn >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33).is_multiple_of(of).then_some(harm)
            }
        };
        state.requests += 1;
        state.harmed += u64::from(harm.is_some());
        harm
    }

    /// Waits while the request is held back at this side of storage.
    fn pass_gate(&self, line: &str, side: Side) {
        let mut state = self.state.lock().unwrap();
        let meant = |gate: &Gate| {
            gate.side == side && line.starts_with(gate.method) && gate.words.iter().all(|word| line.contains(word))
        };
        if !state.gate.as_ref().is_some_and(meant) {
            return;
        }
        state.gate = None;
        state.held = Some(line.to_owned());
        let opened = state.opened;
        self.changed.notify_all();
        while state.opened == opened {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn answer(&self, client: &mut TcpStream) -> Option<()> {
        let request = Message::request(client)?;
        let line = request.line();
        let harm = self.fate();
        match harm {
            Some(Harm::Reset) => return None,
            Some(Harm::Stall) => {
                let mut sink = [0; 4096];
                while client.read(&mut sink).is_ok_and(|n| n > 0) {}
                return None;
            }
            Some(Harm::Status(code)) => return busy(client, code),
            _ => {}
        }
        self.pass_gate(&line, Side::Before);
        let mut answer = request.answer(&self.target)?;
        self.pass_gate(&line, Side::After);
        let length = answer.body.len();
        // Where there is a length: a body in pieces says by itself where it ends.
        let says_length = length > 0 && header(&answer.head, "content-length").is_some();
        let saying = |length: usize| with_header(&answer.head, "content-length", &length.to_string());
        match harm {
            Some(Harm::Unanswered) => return None,
            Some(Harm::DoneYetBusy) => return busy(client, 503),
            Some(Harm::HalfBody) => answer.body.truncate(length / 2),
            Some(Harm::TooLong) if says_length => answer.head = saying(length + 100),
            Some(Harm::TooShort) if says_length => answer.head = saying(length / 2),
            _ => {}
        }
        let mut text = answer.head;
        text.append(&mut answer.body);
        if let Some(Harm::Truncate(most)) = harm {
            text.truncate(most);
        }
        client.write_all(&text).ok()
    }
}

fn busy(client: &mut TcpStream, code: u16) -> Option<()> {
    write!(client, "HTTP/1.1 {code} Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()
}
