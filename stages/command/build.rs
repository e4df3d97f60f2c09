//! Stamps the code of the stage kind.

fn main() {
    pipe_stamp::write(&["src/kinds"]);
}
