//! Delivered mail, read for comparing.

/// One message as it lies in the mailbox: LF line ends.
#[derive(Debug, Clone)]
pub struct Mail {
    bytes: Vec<u8>,
    body: usize,
}

impl Mail {
    pub fn new(bytes: Vec<u8>) -> Self {
        let body = bytes
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .map_or(bytes.len(), |end| end + 2);
        Self { bytes, body }
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body..]
    }

    /// The header, folds and all.
    pub fn header(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.body]).into_owned()
    }

    /// The values of all fields of this name, from the top, unfolded, without surrounding space.
    pub fn fields(&self, name: &str) -> Vec<String> {
        let unfolded = self.header().replace("\n ", " ").replace("\n\t", " ");
        unfolded
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.trim_end().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }
}
