//! A client that sends exactly the bytes it is given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::LIMIT;

pub struct Client {
    reader: BufReader<TcpStream>,
}

/// An answer, read to the end of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// From an address of this machine other than the usual one.
    pub fn connect_from(from: impl Into<IpAddr>, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        let from = SocketAddr::new(from.into(), 0);
        socket.bind(&from.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub fn local_address(&self) -> SocketAddr {
        self.reader.get_ref().local_addr().unwrap()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends what the other side may no longer take.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// What sends while another reads.
    pub fn clone_writer(&self) -> TcpStream {
        self.reader.get_ref().try_clone().unwrap()
    }

    pub fn finish(&mut self) -> &mut Self {
        self.reader.get_mut().shutdown(Shutdown::Write).unwrap();
        self
    }

    /// The answer to a GET or the like.
    pub fn answer(&mut self) -> Answer {
        read_answer(&mut self.reader, false)
    }

    pub fn answer_to_head(&mut self) -> Answer {
        read_answer(&mut self.reader, true)
    }

    /// One line, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything up to the close of the connection. A reset counts as a close.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.reader.read(&mut piece) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }

    /// The same, behind these bytes.
    pub fn is_reset_after(&mut self, bytes: &[u8]) -> bool {
        assert_eq!(self.exactly(bytes.len()), bytes);
        self.is_reset()
    }

    /// Reads to the end of the connection; whether that is a reset.
    pub fn is_reset(&mut self) -> bool {
        let mut piece = [0; 4096];
        loop {
            match self.reader.read(&mut piece) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Reads one answer; panics on what is not one.
pub fn read_answer(reader: &mut impl BufRead, to_head: bool) -> Answer {
    let status_line = line(reader);
    let mut words = status_line.split(' ');
    assert_eq!(words.next(), Some("HTTP/1.1"), "{status_line:?}");
    let status = words.next().unwrap().parse().unwrap();
    let headers = fields(reader);
    let find = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let mut answer = Answer {
        status,
        body: Vec::new(),
        trailers: Vec::new(),
        headers: headers.clone(),
    };
    if to_head || status < 200 || status == 204 || status == 304 {
        return answer;
    }
    if find("transfer-encoding").is_some() {
        read_chunks(reader, &mut answer);
    } else if let Some(length) = find("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut answer.body).unwrap();
    } else {
        reader.read_to_end(&mut answer.body).unwrap();
    }
    answer
}

fn read_chunks(reader: &mut impl BufRead, answer: &mut Answer) {
    loop {
        let size = usize::from_str_radix(&line(reader), 16).unwrap();
        if size == 0 {
            answer.trailers = fields(reader);
            return;
        }
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).unwrap();
        assert_eq!(&chunk[size..], b"\r\n");
        answer.body.extend_from_slice(&chunk[..size]);
    }
}

fn fields(reader: &mut impl BufRead) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader);
        if line.is_empty() {
            return fields;
        }
        let (name, value) = line.split_once(':').unwrap();
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).unwrap();
    assert!(
        line.ends_with(b"\r\n"),
        "{:?}",
        String::from_utf8_lossy(&line)
    );
    line.truncate(line.len() - 2);
    String::from_utf8(line).unwrap()
}
