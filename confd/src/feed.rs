//! Where the configuration comes from: the file on disk and the feed of masterd.
