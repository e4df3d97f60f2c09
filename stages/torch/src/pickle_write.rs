//! Writes Python's pickle format, protocol 2: the values that checkpoints and calibrators are made of.
//!
//! Values are written in order, each by one call; a tuple, list, call or object takes what was written before it.
//! Nothing is shared between values, so equal values give equal bytes.

/// A pickle being written.
pub struct PickleWriter {
    bytes: Vec<u8>,
}

impl Default for PickleWriter {
    fn default() -> Self {
        Self { bytes: vec![0x80, 2] }
    }
}

impl PickleWriter {
    /// The pickle of the one value that was written.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'.');
        self.bytes
    }

    /// A class or function by module and name.
    pub fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.bytes.extend(format!("c{module}\n{name}\n").into_bytes());
        self
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        // No text here is longer than a name.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.bytes.push(b'X');
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self
    }

    /// A whole number of 63 bits.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        match i32::try_from(value) {
            Ok(small) => {
                self.bytes.push(b'J');
                self.bytes.extend(small.to_le_bytes());
            }
            Err(_) => {
                self.bytes.extend([0x8a, 8]);
                self.bytes.extend(value.to_le_bytes());
            }
        }
        self
    }

    /// A real number.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.bytes.push(b'G');
        self.bytes.extend(value.to_be_bytes());
        self
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes.push(if value { 0x88 } else { 0x89 });
        self
    }

    /// Python's `None`.
    pub fn none(&mut self) -> &mut Self {
        self.bytes.push(b'N');
        self
    }

    /// Bytes as Python 2 and 3 both read them: the Latin-1 characters of a text.
    pub fn latin_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let characters: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        self.global("_codecs", "encode");
        self.tuple(|tuple| {
            tuple.text(&characters).text("latin1");
        });
        self.call()
    }

    /// A tuple of what is written meanwhile.
    pub fn tuple(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.bytes.push(b'(');
        fill(self);
        self.bytes.push(b't');
        self
    }

    /// A list of what is written meanwhile.
    pub fn list(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.bytes.extend(b"](");
        fill(self);
        self.bytes.push(b'e');
        self
    }

    /// A dictionary of keys and values, in turn, that are written meanwhile.
    pub fn dictionary(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.bytes.push(b'}');
        self.items(fill)
    }

    /// Adds keys and values, in turn, to the dictionary that was written last.
    pub fn items(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.bytes.push(b'(');
        fill(self);
        self.bytes.push(b'u');
        self
    }

    /// The result of the function before the last value, called with that tuple.
    pub fn call(&mut self) -> &mut Self {
        self.bytes.push(b'R');
        self
    }

    /// An instance of the class before the last value, made with that tuple.
    pub fn instance(&mut self) -> &mut Self {
        self.bytes.push(0x81);
        self
    }

    /// Gives the object before the last value that value as its state.
    pub fn state(&mut self) -> &mut Self {
        self.bytes.push(b'b');
        self
    }

    /// What the last value, a tuple, names in the archive around the pickle.
    pub fn persistent(&mut self) -> &mut Self {
        self.bytes.push(b'Q');
        self
    }
}
