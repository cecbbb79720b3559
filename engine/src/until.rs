//! A verdict that holds until something is provided: what a precondition finds wrong now, and a step of the plan may mend.
//!
//! A cache on a `nodev` file system is no obstacle where the plan is about to move it. Whoever asks keeps such a verdict for
//! later, if a step that provides what it hangs on has yet to be done, and asks again then. This file does not know when that is.

use crate::Resource;
use anyhow::Error;
use std::fmt;

/// What is wrong until a resource is provided. It reads, and has causes, as the error that it was made of.
#[derive(Debug)]
pub struct Until {
    pub(crate) resource: Resource,
    pub(crate) error: Error,
}

/// Marks an error of [`crate::Step::precondition`] as one that whatever provides `resource` may mend. It has to be the last
/// thing that is done to the error.
pub fn until(resource: Resource) -> impl FnOnce(Error) -> Error {
    move |error| Until { resource, error }.into()
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Until {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// The error itself, and the resource that it hangs on, if it hangs on one.
pub(crate) fn taken_apart(error: Error) -> (Error, Option<Resource>) {
    match error.downcast::<Until>() {
        Ok(Until { resource, error }) => (error, Some(resource)),
        Err(error) => (error, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn it_reads_as_the_error_that_it_was() {
        let cache = || Resource::new("cache", "/var/cache");
        let marked = until(cache())(anyhow!("nodev").context("no room"));
        assert_eq!(format!("{marked:#}"), "no room: nodev");
        let (error, resource) = taken_apart(marked);
        assert_eq!((format!("{error:#}"), resource), ("no room: nodev".to_owned(), Some(cache())));
        assert_eq!(taken_apart(anyhow!("plain")).1, None);
    }
}
