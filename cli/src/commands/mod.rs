//! One file for each verb.

pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod pack;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod stages;
pub(crate) mod sweep;
pub(crate) mod why;
pub(crate) mod worker;
