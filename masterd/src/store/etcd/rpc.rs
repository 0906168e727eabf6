//! Generated from `proto/etcd.proto`.

#![allow(missing_debug_implementations, clippy::all, reason = "generated code")]

tonic::include_proto!("etcdserverpb");
