FROM busybox
ENV a=1 b=/usr/bin/tool.tar.gz empty=
ENV c=${a:-x} d=${empty:-dflt} e=${empty-keep} f=${a:+set} g=${unset+no}
ENV h=${b##*/} i=${b%%.*} j=${b#*/} k=${b%.*} l=${b/bin/sbin} m=${b//\//_}
WORKDIR ${b%/*}
LABEL v="$c-$d" w='$c' x=\$c
