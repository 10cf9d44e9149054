FROM busybox
RUN --device=vendor.example/none=x,required=false true
