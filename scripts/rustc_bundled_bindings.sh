#!/bin/sh
# A wrapper of rustc for scripts/check_versions.sh: the crate of the server's bindings is compiled with those that it carries for each
# major version, so that nothing of that version has to be installed.
case " $* " in *' --crate-name pgrx_pg_sys '*) set -- "$@" --cfg docsrs ;; esac
exec "$@"
