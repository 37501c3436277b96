//! A small HTTP server on 127.0.0.1.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Answers every request with the status that stands in its path: `GET /503`.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(AtomicUsize::new(0));
        let ending = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (requests, ending) = (requests.clone(), ending.clone());
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if ending.load(Ordering::SeqCst) {
                        return;
                    }
                    // A connection that is only opened, to see whether somebody listens, has no request.
                    if answer(stream).is_some() {
                        requests.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        Server {
            address,
            requests,
            ending,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL that is answered with `status`.
    pub(crate) fn url(&self, status: u16) -> String {
        format!("http://{}/{status}", self.address)
    }

    /// Returns how many requests were answered.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?)
        .lines()
        .map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let status = request
        .split(['/', ' '])
        .find(|part| part.len() == 3 && part.parse::<u16>().is_ok())?;
    let text =
        format!("HTTP/1.1 {status} Answer\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    stream.write_all(text.as_bytes()).ok()
}
