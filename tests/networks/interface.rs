//! Network namespaces, each with an interface whose packets this process carries.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets `command` run in namespaces of users and networks of its own, in which it may do everything.
pub fn isolated(command: &mut Command) {
    // SAFETY: the closure makes system calls alone, and formats two numbers without allocating: the
    // child of a program with threads may.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    let enter = move || {
        // SAFETY: no memory is involved.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
    };
    // SAFETY: what it allocates, the C library lets a child of a fork allocate.
    unsafe { command.pre_exec(enter) };
}

/// Moves the calling thread into a network namespace of its own, and so what it starts from now on.
/// Its interface has the address, in a network of 256; the packets are those of the file.
pub fn enter_network(address: Ipv4Addr, mtu: i32) -> io::Result<File> {
    // SAFETY: no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let tun =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = Request::new("link");
    request.0.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    request.on(tun.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl)?;
    // Any socket will do.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let socket = socket.as_raw_fd();
    let set = |name: &str, operation: libc::c_ulong, change: &dyn Fn(&mut Request)| {
        let mut request = Request::new(name);
        change(&mut request);
        request.on(socket, operation as libc::Ioctl)
    };
    set("link", libc::SIOCSIFADDR, &|request| request.set_address(address))?;
    set("link", libc::SIOCSIFNETMASK, &|request| request.set_address(Ipv4Addr::new(255, 255, 255, 0)))?;
    set("link", libc::SIOCSIFMTU, &|request| request.0.ifr_ifru.ifru_mtu = mtu)?;
    for name in ["link", "lo"] {
        let up = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        set(name, libc::SIOCSIFFLAGS, &|request| request.0.ifr_ifru.ifru_flags = up)?;
    }
    Ok(tun)
}

/// What the kernel is asked about an interface.
struct Request(libc::ifreq);

impl Request {
    fn new(name: &str) -> Request {
        // SAFETY: a request of zeros is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        Request(request)
    }

    fn set_address(&mut self, address: Ipv4Addr) {
        // SAFETY: an address of zeros is valid. It is smaller than the field, which has room for it.
        unsafe {
            let mut socket_address: libc::sockaddr_in = std::mem::zeroed();
            socket_address.sin_family = libc::AF_INET as libc::sa_family_t;
            socket_address.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
            (&raw mut self.0.ifr_ifru).cast::<libc::sockaddr_in>().write(socket_address);
        }
    }

    fn on(&mut self, descriptor: i32, operation: libc::Ioctl) -> io::Result<()> {
        // SAFETY: each of the operations reads and writes a request.
        let result = unsafe { libc::ioctl(descriptor, operation, &raw mut self.0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
