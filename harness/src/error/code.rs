//! Short names for errors, under which the documentation has what to do.

use super::ErrorKind;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// The short name of an error, by which [the page about what went wrong][page] has an entry for it.
        ///
        /// Where the cause is one that users meet, it has a code of its own; every other error has that of its kind. Codes
        /// keep their meaning: scripts and search engines may go by them.
        ///
        /// ```
        /// use reachmap::{Error, ErrorCode, ErrorKind};
        /// let error = Error::new(ErrorKind::Busy, "delete the cluster mine", "a run holds it");
        /// assert_eq!(error.code(), ErrorCode::Busy);
        /// assert_eq!(error.code().as_str(), "RM-BUSY");
        /// ```
        ///
        /// [page]: https://github.com/reachmap/reachmap/blob/main/docs/src/errors.md
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorCode {
            /// Every code, in the order of the page.
            ///
            /// ```
            /// assert!(reachmap::ErrorCode::ALL.iter().all(|code| code.as_str().starts_with("RM-")));
            /// ```
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code as it is printed.
            ///
            /// ```
            /// assert_eq!(reachmap::ErrorCode::NoGo.as_str(), "RM-GO");
            /// ```
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    /// A suite that there is not, or that does not run here.
    Suite = "RM-SUITE";
    /// A filter that cannot be read, or that chooses nothing.
    Cells = "RM-CELLS";
    /// A part of a run that there is not, or that has nothing.
    Shard = "RM-SHARD";
    /// Reports that do not make one run.
    Merge = "RM-MERGE";
    /// A version of Kubernetes that cannot be had.
    Version = "RM-VERSION";
    /// Images or a network plugin that the chosen source does not have.
    Source = "RM-SOURCE";
    /// Addresses that the load balancer cannot have.
    Pool = "RM-POOL";
    /// A kubeconfig, or a context, that is not usable.
    Kubeconfig = "RM-KUBECONFIG";
    /// A cluster's name that says too little, or that somebody else has.
    Cluster = "RM-CLUSTER";
    /// Any other option or file of the user's that is wrong.
    Usage = "RM-USAGE";
    /// Nothing to run containers with.
    NoEngine = "RM-ENGINE";
    /// No Go to build with.
    NoGo = "RM-GO";
    /// Programs that are missing and that nobody may install.
    NoPrograms = "RM-PROGRAMS";
    /// A cluster test without a cluster.
    NoSession = "RM-SESSION";
    /// Something in the cluster that the model does not know.
    NotCovered = "RM-MODEL";
    /// Anything else that the run needs and that is not there.
    Missing = "RM-MISSING";
    /// A disk without enough room.
    NoRoom = "RM-DISK";
    /// A record that cannot be read.
    Record = "RM-RECORD";
    /// Any other file that could not be read or written.
    Storage = "RM-STORAGE";
    /// An image that could not be pulled.
    Pull = "RM-PULL";
    /// No subnet for the nodes.
    NoSubnet = "RM-SUBNET";
    /// An API server that does not answer.
    Unreachable = "RM-UNREACHABLE";
    /// A cluster whose engine has ended.
    EngineEnded = "RM-ENDED";
    /// An edited Corefile that did not become live.
    Corefile = "RM-COREFILE";
    /// MetalLB's webhook, which does not answer.
    Webhook = "RM-WEBHOOK";
    /// Policies of Services that did not take effect.
    Policies = "RM-POLICIES";
    /// An agent that has ended.
    AgentGone = "RM-AGENT";
    /// Something that could not be cleaned up.
    CleanUp = "RM-CLEANUP";
    /// Any other part of the environment that could not be made ready.
    Environment = "RM-ENVIRONMENT";
    /// Anything else that did not happen in time.
    Deadline = "RM-DEADLINE";
    /// Something that another run holds.
    Busy = "RM-BUSY";
    /// A defect in Reachmap.
    Internal = "RM-INTERNAL";
    /// A signal that ended the run.
    Interrupted = "RM-INTERRUPTED";
}

impl ErrorCode {
    /// The code of an error of which no more is known than its kind.
    pub(super) const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Missing => Self::Missing,
            ErrorKind::Environment => Self::Environment,
            ErrorKind::Deadline => Self::Deadline,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Storage => Self::Storage,
            ErrorKind::Interrupted => Self::Interrupted,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_codes_are_the_same() {
        let texts: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        assert!(texts.iter().all(|text| plain(text)), "{texts:?}");
    }
}
