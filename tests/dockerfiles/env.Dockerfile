FROM busybox
ENV A=1 B="two words" C=$HOME
ENV D three words
RUN env | grep -E '^[ABCD]=' | sort > /env
