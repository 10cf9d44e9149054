FROM busybox
ADD archive.tar.gz /unpacked/
ADD --unpack=false archive.tar.gz /kept/
ADD https://example.org/a/file.tgz?x=1 /web/
ADD --unpack --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://example.org/b.tar /web2/
ADD https://github.com/moby/buildkit.git#v0.14.1:docs /git/
ADD --keep-git-dir=true git@github.com:moby/buildkit.git /git2
ADD --checksum=abcdef0 https://github.com/moby/buildkit.git?branch=master&submodules=false /git3
