FROM busybox
SHELL ["/bin/ash", "-eo", "pipefail", "-c"]
RUN echo shell "form" $HOME
RUN ["echo", "exec", "$HOME"]
ENTRYPOINT exec top -b
CMD ["-d", "1"]
