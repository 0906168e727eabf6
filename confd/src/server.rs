//! Takes datagrams and answers them.
