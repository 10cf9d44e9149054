# A package is built in one stage and installed in another.
FROM debian AS package
WORKDIR /work
COPY entry.sh root/usr/bin/entry
RUN chmod 755 root/usr/bin/entry && mkdir -p root/DEBIAN && \
    printf 'Package: entry\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.test>\nDescription: an entry\n' \
      > root/DEBIAN/control && \
    dpkg-deb --build --root-owner-group root entry.deb
FROM debian
COPY --from=package /work/entry.deb /tmp/
RUN dpkg -i /tmp/entry.deb && rm -f /tmp/entry.deb /var/log/dpkg.log /var/lib/dpkg/status-old
CMD ["entry"]
