# The image of eg: the release's binary, the certificates that AWS is checked with, and nothing that runs as root.
#
#   dist/build && docker build --tag eg .
#   docker run --read-only --volume eg-state:/var/lib/eg --volume ./config.toml:/etc/eg/config.toml:ro eg session list
FROM debian:12-slim

# The newest list of authorities, on purpose: a pinned one would trust what has been withdrawn since.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o 65532 -g 65532 -m 700 /var/lib/eg

COPY --chmod=755 target/dist-files/eg/bin/eg /usr/bin/eg
COPY --chmod=644 LICENSE-APACHE LICENSE-MIT target/dist-files/eg/share/doc/eg/THIRD-PARTY /usr/share/doc/eg/

# A container has no id that outlives it: name the machine, or the state on the volume belongs to another one.
ENV EG_MACHINE=container \
  EG_CONFIG=/etc/eg/config.toml \
  EG_STATE=/var/lib/eg/state.db \
  TMPDIR=/var/lib/eg \
  LANG=C.UTF-8
VOLUME /var/lib/eg
USER 65532:65532
ENTRYPOINT ["/usr/bin/eg"]
CMD ["--help"]
