FROM busybox
ADD --chmod=0750 --link --exclude=*.log dir /d/
ADD --unpack=false packed.tar /kept/
