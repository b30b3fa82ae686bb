//! Services that tell a caller its address, on loopback.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What a service does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `200` with this text.
    Text(String),
    /// Another status.
    Status(u16),
    /// Nothing, for this long; then it hangs up.
    Silence(Duration),
}

/// One service; it stops when dropped.
#[derive(Debug)]
pub struct Echo {
    at: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// On 127.0.0.1.
    pub fn v4(text: &str) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a loopback port"), text)
    }

    /// On ::1, where this machine has one.
    pub fn v6(text: &str) -> Option<Self> {
        TcpListener::bind("[::1]:0").ok().map(|listener| Self::on(listener, text))
    }

    fn on(listener: TcpListener, text: &str) -> Self {
        let at = listener.local_addr().expect("a bound listener");
        let reply = Arc::new(Mutex::new(Reply::Text(text.to_owned())));
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, stopped, count) = (Arc::clone(&reply), Arc::clone(&stop), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let reply = shared.lock().expect("the reply").clone();
                thread::spawn(move || stream.map(|stream| answer(stream, &reply)));
            }
        });
        Self { at, reply, stop, asked, thread: Some(thread) }
    }

    /// For the configuration.
    pub fn url(&self) -> String {
        format!("http://{}/", self.at)
    }

    /// Answers this from now on.
    pub fn set(&self, reply: Reply) {
        *self.reply.lock().expect("the reply") = reply;
    }

    /// Answers this text from now on.
    pub fn say(&self, text: &str) {
        self.set(Reply::Text(text.to_owned()));
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        TcpStream::connect(self.at).ok(); // wakes the accept
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn answer(mut stream: TcpStream, reply: &Reply) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    let (status, text) = match reply {
        Reply::Text(text) => (200, text.as_str()),
        Reply::Status(status) => (*status, ""),
        Reply::Silence(time) => return thread::sleep(*time),
    };
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
    .ok();
}
