//! Who acts, and with whose rights.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use crate::model::{Code, Error, Result};

/// The role whose rights count now.
pub fn current() -> Oid {
    // SAFETY: reads a process-wide value.
    unsafe { pg_sys::GetUserId() }
}

/// True if who is logged in is a superuser and has not become somebody else.
pub fn is_superuser_undisguised() -> bool {
    // SAFETY: both read the session's state; the look-up of a role that is there raises nothing.
    unsafe { pg_sys::GetCurrentRoleId() == Oid::INVALID && pg_sys::superuser_arg(pg_sys::GetSessionUserId()) }
}

/// Puts the previous role back when dropped.
pub struct Acting {
    user: Oid,
    context: i32,
}

impl Acting {
    /// Acts as `user`. `restricted` also forbids what could outlive the act (SECURITY_RESTRICTED_OPERATION), for code of users.
    pub fn r#as(user: Oid, restricted: bool) -> Acting {
        let mut previous = Acting { user: Oid::INVALID, context: 0 };
        // SAFETY: out pointers are valid; the old values are put back by Drop, and by the transaction's abort.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut previous.user, &mut previous.context);
            let mut context = previous.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            if restricted {
                context |= pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
            }
            pg_sys::SetUserIdAndSecContext(user, context);
        }
        previous
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        // SAFETY: sets back what GetUserIdAndSecContext gave.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}

/// True if `user` has the rights of the role named `role` (superusers have all). False when there is no such role.
pub fn has_role(user: Oid, role: &std::ffi::CStr) -> bool {
    // SAFETY: syscache look-ups with valid arguments.
    unsafe {
        let role = pg_sys::get_role_oid(role.as_ptr(), true);
        role != Oid::INVALID && pg_sys::has_privs_of_role(user, role)
    }
}

/// The name of a role, for messages; its number when it is gone.
pub fn name(user: Oid) -> String {
    // SAFETY: noerr = true; the answer is a NUL-terminated string or NULL, copied at once.
    unsafe {
        let name = pg_sys::GetUserNameFromId(user, true);
        if name.is_null() {
            user.to_u32().to_string()
        } else {
            std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }
}

/// Raises unless `user` may do what the role `role` is for.
pub fn require_role(user: Oid, role: &std::ffi::CStr, what: &str) -> Result<()> {
    if has_role(user, role) {
        return Ok(());
    }
    let role = role.to_string_lossy();
    Err(Error::new(Code::Forbidden, format!("permission denied to {what}"))
        .detail(format!("Role \"{}\" is not a member of \"{role}\".", name(user)))
        .hint(format!("An administrator can GRANT {role} TO \"{}\".", name(user))))
}
