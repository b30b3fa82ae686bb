# shellcheck shell=bash
# shellcheck disable=SC2154 # dist/test sets what stands here in lower case
# The container image: built by buildah from the Dockerfile, with a Debian root of debootstrap's in the place of the base
# image, since no registry of images is asked; then run as it is meant to be: read-only, without root, with a volume.

builds() { buildah --storage-driver vfs --root "$work/images" --runroot "$work/run" "$@"; }
the_base() {
  local suite=bookworm tar=$root/target/dist-base-bookworm.tar
  mkdir -p "$work/base"
  if [ ! -e "$tar" ]; then
    debootstrap --variant=minbase "$suite" "$work/base-root" >"$work/base.log" 2>&1 || { tail -n 5 "$work/base.log"; return 1; }
    tar -C "$work/base-root" --one-file-system --exclude='./dev/*' --exclude='./proc/*' -cf "$tar.new" . && mv "$tar.new" "$tar"
    rm -rf --one-file-system "$work/base-root"
  fi
  ln -f "$tar" "$work/base/root.tar" 2>/dev/null || cp "$tar" "$work/base/root.tar"
  printf 'FROM scratch\nADD root.tar /\n' >"$work/base/Dockerfile"
  builds bud --isolation chroot --tag debian:12-slim "$work/base"
}
# What the image says of itself.
image_says() { builds inspect --type image --format "$1" eg; }
in_image() {
  chroot --userspec=65532:65532 "$work/image" env -i PATH=/usr/bin:/bin EG_MACHINE=container EG_CONFIG=/etc/eg/config.toml \
    EG_STATE=/var/lib/eg/state.db TMPDIR=/var/lib/eg LANG=C.UTF-8 "${aws[@]}" "$@"
}

test_image() {
  artefacts || return
  if [ "$(id -u)" != 0 ] || ! need debootstrap debootstrap || ! need buildah buildah; then
    leave_out 'the image: it takes root, debootstrap and buildah'
    return
  fi
  if ! the_base >"$work/base.out" 2>&1; then
    tail -n 5 "$work/base.out"
    leave_out 'the image: no base for it can be made here'
    return
  fi
  check 'the Dockerfile builds' builds bud --isolation chroot --pull-never --tag eg .
  check 'it runs as a user' says 65532:65532 image_says '{{.OCIv1.Config.User}}'
  check 'its state is a volume' says /var/lib/eg image_says '{{.OCIv1.Config.Volumes}}'
  check 'it names its state file' says EG_STATE=/var/lib/eg/state.db image_says '{{.OCIv1.Config.Env}}'
  local container files
  container=$(builds from --pull-never eg) && files=$(builds mount "$container") || return
  serve_moto || return
  mkdir -p "$files/etc/eg" "$work/image"
  printf '[[resource]]\nname = "test"\nid = "%s"\nregion = "eu-west-1"\nports = ["tcp/22"]\n' "$group" >"$files/etc/eg/config.toml"
  if ! mount --bind "$files" "$work/image" || ! mount -o remount,bind,ro "$work/image" ||
    ! mount -t tmpfs -o uid=65532,gid=65532,mode=700 tmpfs "$work/image/var/lib/eg" || ! mount -t proc proc "$work/image/proc" ||
    ! mount --bind /dev "$work/image/dev"; then
    leave_out 'the image read-only: nothing can be mounted here'
    return
  fi
  check 'the root is read-only' refuses 'Read-only' in_image touch /tmp/file
  check 'eg --version' says "eg $version" in_image eg --version
  check 'eg demo' in_image eg demo
  before=$(rules)
  check 'eg session start' says 'Session is ACTIVE' in_image eg session start --ipv4 203.0.113.10
  check 'the group holds it' rules_are $((before + 1))
  check 'eg session stop' says 'Session stopped' in_image eg session stop
  check 'the rule is gone' rules_are "$before"
  check 'the sweep of deploy/kubernetes' in_image eg sweep --region eu-west-1 --output json
  umount -l "$work/image/dev" "$work/image/proc" "$work/image/var/lib/eg" "$work/image"
  builds umount "$container" >/dev/null
}
