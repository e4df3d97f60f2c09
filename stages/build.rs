//! Stamps the code of each stage kind, one constant for each module of `src/kinds`.

fn main() {
    pipe_stamp::write(&["src/kinds"]);
}
