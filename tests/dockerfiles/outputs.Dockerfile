FROM scratch
COPY a.txt /a
