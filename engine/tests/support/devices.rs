//! A kind that computes on devices and finds out whether anybody else does at the same time.

use std::sync::Mutex;
use std::time::Duration;

use pipe_engine::context::{Context, Device};
use pipe_engine::stage::{About, OutputSpec, Stage, StageError, Whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CODE;

/// Devices in use, in this process.
static IN_USE: Mutex<Vec<Device>> = Mutex::new(Vec::new());

/// Occupies its device for a moment; fails if it is occupied.
pub struct Occupy;

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub struct OccupyParams {
    /// Makes an instance of its own.
    pub fold: u32,
    /// Goes on until it is stopped.
    pub endless: bool,
}

impl Stage for Occupy {
    type Params = OccupyParams;
    const ABOUT: About = About::new("occupy", "occupies its device", CODE)
        .outputs(&[OutputSpec::file("text", "text.txt", "the fold")])
        .device();
}

impl Whole for Occupy {
    fn run(&self, params: &OccupyParams, context: &mut Context<'_>) -> Result<(), StageError> {
        if params.endless {
            loop {
                context.check_cancelled()?;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let device = context.device();
        let mut in_use = IN_USE.lock().unwrap();
        if in_use.contains(&device) {
            return Err(StageError::message(format!("{device} is occupied")));
        }
        in_use.push(device);
        drop(in_use);
        std::thread::sleep(Duration::from_millis(30));
        IN_USE.lock().unwrap().retain(|used| *used != device);
        context.write("text", "text.txt", params.fold.to_string().as_bytes())
    }
}
