//! KVM: QEMU through libvirt. The only folder that knows libvirt.

mod xml;
