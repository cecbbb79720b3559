//! The mirror's HTTP server: as much of it as apt, wget and debootstrap speak, and faults on demand.
//!
//! It runs in a throw-away host, on loopback. It does not know Debian's archives.

use crate::fault::{Fault, Rule, choose};
use anyhow::{Context, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The port it listens on.
pub(crate) const PORT: u16 = 80;
/// In the control directory: one rule a line, read anew for each request.
pub(crate) const FAULTS: &str = "faults";
/// In the control directory: one line `STATUS BYTES PATH` for each request.
pub(crate) const ACCESS: &str = "access.log";
/// In the control directory: there once it listens.
pub(crate) const READY: &str = "listening";

struct Server {
    tree: PathBuf,
    control: PathBuf,
    /// The text of the rules as last read, and how often each was met since.
    used: Mutex<(String, Vec<u32>)>,
}

/// What of a request matters.
#[derive(Debug, Default)]
struct Request {
    head_only: bool,
    path: String,
    range_start: u64,
    if_range: Option<String>,
    if_modified_since: Option<String>,
}

/// What of an answer is sent, and from where.
struct Answer {
    status: &'static str,
    file: Option<File>,
    /// Where the file's part starts, and its whole length.
    start: u64,
    length: u64,
    modified: String,
}

/// Serves `tree` on loopback for ever, told by the files in `control`.
pub(crate) fn serve(tree: &Path, control: &Path) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).context("the mirror cannot listen")?;
    fs::write(control.join(READY), "")?;
    let server = Arc::new(Server { tree: tree.into(), control: control.into(), used: Mutex::default() });
    for stream in listener.incoming() {
        let (server, stream) = (Arc::clone(&server), stream?);
        std::thread::spawn(move || {
            // A client that goes away is its own business; everything else is in the access log.
            let _ = server.converse(stream);
        });
    }
    Ok(())
}

impl Server {
    /// One connection: requests, one after the other.
    fn converse(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            // Who only asks whether a file is there uses up no fault, and is told of files that are missing for good alone.
            let fault = if request.head_only { None } else { self.fault(&request.path)? };
            let answer = self.answer(&request, fault)?;
            let bytes = if request.head_only { 0 } else { answer.length - answer.start };
            self.log(answer.status, bytes, &request.path, fault)?;
            answer.send(&mut stream, request.head_only, fault)?;
            match fault {
                Some(Fault::Stalled) => std::thread::sleep(Duration::from_secs(3600)),
                Some(Fault::ClosedHalfway) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn fault(&self, path: &str) -> Result<Option<Fault>> {
        let text = fs::read_to_string(self.control.join(FAULTS)).unwrap_or_default();
        let rules = text.lines().map(str::parse).collect::<Result<Vec<Rule>>>()?;
        let mut used = self.used.lock().map_err(|_| anyhow::anyhow!("a connection panicked"))?;
        if used.0 != text {
            *used = (text, vec![0; rules.len()]);
        }
        Ok(choose(&rules, &mut used.1, path))
    }

    fn answer(&self, request: &Request, fault: Option<Fault>) -> Result<Answer> {
        match fault {
            Some(Fault::Missing) => return Ok(Answer::empty("404 Not Found")),
            Some(Fault::Unavailable) => return Ok(Answer::empty("503 Service Unavailable")),
            _ => {}
        }
        let Some(file) = self.open(&request.path)? else { return Ok(Answer::empty("404 Not Found")) };
        let metadata = file.metadata()?;
        let modified = http_date(&metadata)?;
        if request.if_modified_since.as_ref() == Some(&modified) {
            return Ok(Answer { modified, ..Answer::empty("304 Not Modified") });
        }
        let mut length = metadata.len();
        if fault == Some(Fault::WrongSize) {
            length = length * 2 / 3;
        }
        let continues =
            request.if_range.as_ref().is_none_or(|date| *date == modified) && request.range_start < length;
        let start = if continues { request.range_start } else { 0 };
        let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
        Ok(Answer { status, file: Some(file), start, length, modified })
    }

    /// The file meant by `path`, if there is one; never outside of the tree.
    fn open(&self, path: &str) -> Result<Option<File>> {
        let relative = PathBuf::from(path.trim_start_matches('/'));
        if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Ok(None);
        }
        let path = self.tree.join(relative);
        if path.is_file() { Ok(Some(File::open(path)?)) } else { Ok(None) }
    }

    fn log(&self, status: &str, bytes: u64, path: &str, fault: Option<Fault>) -> Result<()> {
        let status = status.split(' ').next().unwrap_or(status);
        let fault = fault.map(|fault| format!(" {fault}")).unwrap_or_default();
        let mut log = OpenOptions::new().create(true).append(true).open(self.control.join(ACCESS))?;
        // One write, so that lines of several connections do not mix.
        Ok(log.write_all(format!("{status} {bytes} {path}{fault}\n").as_bytes())?)
    }
}

impl Request {
    /// The next request of a connection; `None` at its end.
    fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let head_only = words.next() == Some("HEAD");
        let path = decode(words.next().context("a request without a path")?);
        let mut request = Self { head_only, path, ..Self::default() };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(Some(request)) };
            request.header(&name.to_ascii_lowercase(), value);
        }
    }

    fn header(&mut self, name: &str, value: &str) {
        match name {
            "range" => {
                let start = value.strip_prefix("bytes=").and_then(|range| range.split('-').next());
                self.range_start = start.and_then(|start| start.parse().ok()).unwrap_or(0);
            }
            "if-range" => self.if_range = Some(value.to_owned()),
            "if-modified-since" => self.if_modified_since = Some(value.to_owned()),
            _ => {}
        }
    }
}

impl Answer {
    fn empty(status: &'static str) -> Self {
        Self { status, file: None, start: 0, length: 0, modified: String::new() }
    }

    fn send(mut self, stream: &mut TcpStream, head_only: bool, fault: Option<Fault>) -> Result<()> {
        let size = self.length - self.start;
        let mut head =
            format!("HTTP/1.1 {}\r\nContent-Length: {size}\r\nAccept-Ranges: bytes\r\n", self.status);
        if !self.modified.is_empty() {
            head += &format!("Last-Modified: {}\r\n", self.modified);
        }
        if self.start > 0 {
            head += &format!("Content-Range: bytes {}-{}/{}\r\n", self.start, self.length - 1, self.length);
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        if head_only {
            return Ok(());
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.seek(SeekFrom::Start(self.start))?;
        let sent = if matches!(fault, Some(Fault::Stalled | Fault::ClosedHalfway)) { size / 2 } else { size };
        let mut body = file.take(sent);
        if fault == Some(Fault::WrongHash) {
            stream.write_all(&[!first_byte(&mut body)?])?;
        }
        std::io::copy(&mut body, stream)?;
        Ok(())
    }
}

fn first_byte(body: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    body.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// `%7e` and the like, which apt writes for `~` and `+`.
fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(char::from(byte));
                decoded.push_str(&part[2..]);
            }
            None => {
                decoded.push('%');
                decoded.push_str(part);
            }
        }
    }
    decoded
}

fn http_date(metadata: &fs::Metadata) -> Result<String> {
    let modified = jiff::Timestamp::try_from(metadata.modified()?)?;
    Ok(modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode("/pool/a_1%7erc1%2bdfsg_all.deb"), "/pool/a_1~rc1+dfsg_all.deb");
        assert_eq!(decode("/100%"), "/100%");
    }
}
