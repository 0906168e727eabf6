//! What the cluster wants of collectors: asked from confd.
