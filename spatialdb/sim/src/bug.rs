//! Bugs on purpose: each corrupts a seam between the machines, and a judge must notice.
//!
//! They prove the judges: a judge that passes a run with a bug in it is itself wrong.

use crate::rng::Rng;

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, one_in $cases:literal;)*) => {
        /// A way to be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $variant,)* }

        impl Bug {
            /// Every bug.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// It shows once in so many chances.
            const fn cases(self) -> u64 {
                match self { $(Self::$variant => $cases,)* }
            }
        }
    };
}

bugs! {
    /// A move never arrives: the entity is lost.
    DropMove = "drop-move", one_in 8;
    /// The answer to a move never arrives.
    DropMoved = "drop-moved", one_in 8;
    /// Forwarded writes are lost.
    DropForward = "drop-forward", one_in 4;
    /// Forwarded writes arrive twice.
    DuplicateForward = "duplicate-forward", one_in 4;
    /// "Settled" overtakes the forwarded writes before it.
    SettledEarly = "settled-early", one_in 1;
    /// A fence overtakes the writes before it.
    FenceEarly = "fence-early", one_in 1;
    /// Two messages of a pair of partitions change places.
    SwapPeers = "swap-peers", one_in 4;
    /// Partitions do not tell each other their revision counters.
    ZeroClock = "zero-clock", one_in 1;
    /// A move does not say who holds the entity in view.
    LoseHolders = "lose-holders", one_in 4;
    /// Two messages from a partition to a session change places.
    SwapDeltas = "swap-deltas", one_in 8;
    /// A session is not told of a restart.
    LoseRestarted = "lose-restarted", one_in 2;
    /// A move does not bring the events that holders were not told.
    LoseEvents = "lose-events", one_in 1;
    /// A move does not say that events may still be on their way.
    LoseOverlaps = "lose-overlaps", one_in 1;
    /// An event is lost.
    DropEvent = "drop-event", one_in 4;
    /// An event comes twice.
    DuplicateEvent = "duplicate-event", one_in 4;
    /// Events come before what was written with them.
    EventsAhead = "events-ahead", one_in 2;
    /// It is not told how many events were missed.
    LoseMissed = "lose-missed", one_in 2;
    /// A leave is lost.
    DropLeave = "drop-leave", one_in 8;
    /// An enter comes twice.
    DuplicateEnter = "duplicate-enter", one_in 8;
    /// A row of an older delta is sent again.
    StaleValue = "stale-value", one_in 8;
    /// Values of the last column are lost.
    DropValues = "drop-values", one_in 16;
    /// A component that is gone is not told to be.
    DropGone = "drop-gone", one_in 4;
    /// A rejection is lost.
    LoseRejection = "lose-rejection", one_in 4;
    /// It is not told that rows were decided.
    LoseOutcome = "lose-outcome", one_in 8;
    /// It is not told that views are filled.
    LoseFilled = "lose-filled", one_in 8;
    /// The count of a filled view is one too many.
    WrongCount = "wrong-count", one_in 2;
    /// A square is not told to have another count.
    DropSquare = "drop-square", one_in 4;
    /// What a partition had counted before it counts anew is not given up.
    KeepSquares = "keep-squares", one_in 1;
    /// A partition is not told that its delta was taken.
    LoseReady = "lose-ready", one_in 16;
    /// A change of views does not reach a partition.
    LoseViews = "lose-views", one_in 8;
    /// A flush is answered without waiting for what was sent before.
    FlushEarly = "flush-early", one_in 1;
    /// Writes go to the home of the bare id, whatever the hints say.
    IgnoreHints = "ignore-hints", one_in 8;
    /// The edge misses that an entity has moved.
    LoseSet = "lose-set", one_in 4;
    /// The edge misses that an entity is gone.
    LoseClear = "lose-clear", one_in 4;
    /// A message for one partition is applied in two halves.
    SplitMessage = "split-message", one_in 1;
    /// A batch is lost on its way to a partition.
    LoseBatch = "lose-batch", one_in 16;
    /// A partial update replaces the whole value.
    PartialAsWhole = "partial-as-whole", one_in 4;
    /// Two frames of a session change places.
    SwapFrames = "swap-frames", one_in 8;
    /// A partition is not told that a peer has answered a query.
    DropCut = "drop-cut", one_in 4;
    /// It is told so before the moves that it is to answer for.
    CutEarly = "cut-early", one_in 1;
    /// The book of interests is not told that an entity gives views.
    LoseInterest = "lose-interest", one_in 8;
    /// It is not told that an entity gives none any longer.
    LoseInterestEnd = "lose-interest-end", one_in 4;
    /// Two things that a partition tells it change places.
    SwapInterests = "swap-interests", one_in 2;
    /// A session is not told that it is given other views.
    LosePage = "lose-page", one_in 8;
    /// A partition says that it accepts no more from an owner, and does.
    LoseRevoke = "lose-revoke", one_in 4;
    /// A move does not bring what is to be known of who may write the entity.
    LoseCarried = "lose-carried", one_in 1;
    /// An owner is not told of an entity.
    LoseGain = "lose-gain", one_in 8;
    /// An owner is told in the wrong order which entities came and went.
    ReverseGains = "reverse-gains", one_in 1;
    /// A partition is not told that a player has a region.
    LosePlayer = "lose-player", one_in 4;
    /// A worker is taken to have seen what it was not told.
    SeenTooMuch = "seen-too-much", one_in 1;
    /// A partition is taken to have filled all views of a session.
    WarmEarly = "warm-early", one_in 1;
    /// What a partition says of leaders is lost.
    LoseLeads = "lose-leads", one_in 4;
    /// What a partition says of leaders overtakes what it said before.
    SwapLeads = "swap-leads", one_in 2;
    /// A hold that is over does not end.
    LoseRelease = "lose-release", one_in 2;
    /// A partition is taken to have shown a session all.
    GainedEarly = "gained-early", one_in 1;
    /// A record of a log is lost.
    LoseRecord = "lose-record", one_in 8;
    /// A record is taken to be on disk before it is.
    StoredEarly = "stored-early", one_in 2;
    /// A checkpoint is taken to make all before its end superfluous.
    BeginsLate = "begins-late", one_in 1;
    /// A partition is not told that another has begun a round.
    LoseRound = "lose-round", one_in 1;
    /// A partition is told too early that another has walked.
    WalkedEarly = "walked-early", one_in 1;
    /// What a partition has captured is lost.
    LosePart = "lose-part", one_in 2;
    /// The regions of a layer are not remembered.
    LoseShape = "lose-shape", one_in 1;
    /// What was on its way is taken to be told by its sender.
    LoseInFlight = "lose-in-flight", one_in 2;
    /// A partition is told too early that another has begun a capture.
    CapturingEarly = "capturing-early", one_in 1;
}

impl Bug {
    /// The bug of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// The bug of a run, if it has one.
#[derive(Debug)]
pub(crate) struct Bugs {
    active: Option<Bug>,
    rng: Rng,
}

impl Bugs {
    /// No bug, or that one.
    pub(crate) const fn new(active: Option<Bug>, seed: u64) -> Self {
        Self { active, rng: Rng::new(seed ^ 0xb06) }
    }

    /// Whether the bug shows now.
    pub(crate) fn hits(&mut self, bug: Bug) -> bool {
        self.active == Some(bug) && self.rng.one_in(bug.cases())
    }
}
