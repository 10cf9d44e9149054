FROM busybox AS s0
FROM s0 AS s1
RUN step 0
FROM s1 AS s2
RUN step 1
FROM s2 AS s3
RUN step 2
FROM s3 AS s4
RUN step 3
FROM s4 AS s5
RUN step 4
FROM s5 AS s6
RUN step 5
FROM s6 AS s7
RUN step 6
FROM s7 AS s8
RUN step 7
FROM s8 AS s9
RUN step 8
FROM s9 AS s10
RUN step 9
FROM s10 AS s11
RUN step 10
FROM s11 AS s12
RUN step 11
