//! Taking in the stamps that a build script made. No kind's code is here, so no stamp counts it.

/// A [`CodeStamp`](crate::code::CodeStamp) for each kind, made by the crate's build script with `pipe_stamp::write`: after
///
/// ```ignore
/// mod code_stamps {
///     pipe_plugin::stamps!();
/// }
/// ```
///
/// `crate::code_stamps::CROP` stamps the module `crop`.
#[macro_export]
macro_rules! stamps {
    () => {
        use $crate::code::CodeStamp;

        include!(concat!(env!("OUT_DIR"), "/code_stamps.rs"));
    };
}
