//! What workers have to say to the coordinator, and how it waits for that.
//!
//! It does not know what the messages mean, but for the one that a step's own words become.

use crate::Attempt;
use crate::run::worker::Message;
use drover_state::{EventKind, NodeId, Programs, RunId, StateDir};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A mailbox with many writers and one reader.
///
/// To wake the reader costs more than most checks; so what is not urgent only lies there until something urgent comes,
/// much has piled up, or the reader's patience ends.
#[derive(Debug)]
pub(crate) struct Inbox<M> {
    mail: Mutex<(Mail<M>, bool)>,
    urgent: Condvar,
}

/// What lay in the mailbox.
#[derive(Debug)]
pub(crate) struct Mail<M> {
    /// Messages, in the order they came.
    pub(crate) messages: Vec<M>,
    /// By node, what it said last. Only that: a program can say more than anybody can see.
    pub(crate) said: BTreeMap<usize, Said>,
}

/// The last that a node said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The last line, if there was a new one.
    pub(crate) line: Option<String>,
    /// How far it is, if that has changed.
    pub(crate) progress: Option<(u64, u64)>,
}

/// So many messages are worth waking the reader.
const PILE: usize = 256;

impl<M> Inbox<M> {
    pub(crate) fn new() -> Self {
        Self { mail: Mutex::new((Mail::empty(), false)), urgent: Condvar::new() }
    }

    /// Leaves a message; if it is urgent, the reader is woken.
    pub(crate) fn post(&self, message: M, urgent: bool) {
        let mut mail = self.lock();
        mail.0.messages.push(message);
        if urgent || mail.0.messages.len() >= PILE {
            self.rouse(mail);
        }
    }

    /// Wakes the reader: what is there is all there will be for now.
    pub(crate) fn wake(&self) {
        self.rouse(self.lock());
    }

    fn rouse(&self, mut mail: MutexGuard<'_, (Mail<M>, bool)>) {
        if !std::mem::replace(&mut mail.1, true) {
            drop(mail);
            self.urgent.notify_one();
        }
    }

    /// Waits for urgent mail, or for as long as `patience`, and takes all that is there.
    pub(crate) fn wait(&self, patience: Duration) -> Mail<M> {
        let waiting = self.urgent.wait_timeout_while(self.lock(), patience, |mail| !mail.1);
        let (mut mail, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        mail.1 = false;
        std::mem::replace(&mut mail.0, Mail::empty())
    }

    fn said(&self, node: usize, say: impl FnOnce(&mut Said)) {
        say(self.lock().0.said.entry(node).or_default());
    }

    /// A thread that panicked has left the mail whole: every change to it is a single one.
    fn lock(&self) -> MutexGuard<'_, (Mail<M>, bool)> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Mail<M> {
    fn empty() -> Self {
        Self { messages: Vec::new(), said: BTreeMap::new() }
    }
}

/// An attempt at a node: its way into the mailbox, and its place in the state directory.
#[derive(Debug)]
pub(crate) struct Voice<M> {
    pub(crate) inbox: Arc<Inbox<M>>,
    pub(crate) node: usize,
    pub(crate) id: NodeId,
    pub(crate) attempt: u32,
    pub(crate) run: RunId,
    pub(crate) state: Arc<StateDir>,
}

impl Voice<Message> {
    fn told(&self, event: EventKind) {
        self.inbox.post(Message::Told { node: self.node, event }, false);
    }
}

impl Attempt for Voice<Message> {
    fn line(&self, line: &str) {
        self.inbox.said(self.node, |said| said.line = Some(line.to_owned()));
    }

    fn progress(&self, done: u64, total: u64) {
        self.inbox.said(self.node, |said| said.progress = Some((done, total)));
    }

    fn remark(&self, text: &str) {
        self.told(EventKind::Remark { node: self.id.clone(), text: text.to_owned() });
    }

    fn warning(&self, text: &str) {
        self.told(EventKind::Warning { node: self.id.clone(), text: text.to_owned() });
    }

    fn programs(&self, programs: &Programs) {
        self.told(EventKind::Programs { node: self.id.clone(), programs: programs.clone() });
    }

    fn log(&self) -> Option<PathBuf> {
        Some(self.state.log(self.run, &self.id, self.attempt))
    }

    fn memory(&self) -> Option<PathBuf> {
        Some(self.state.memory(&self.id))
    }
}
