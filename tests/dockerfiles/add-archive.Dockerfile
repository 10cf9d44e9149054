FROM busybox
ADD packed.tar /un/
COPY packed.tar /kept/
