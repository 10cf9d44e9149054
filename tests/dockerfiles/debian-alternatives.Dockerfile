# Debian's own way of choosing between programs.
FROM debian
COPY entry.sh /usr/local/bin/one
RUN chmod 755 /usr/local/bin/one && cp /usr/local/bin/one /usr/local/bin/two && \
    update-alternatives --install /usr/bin/chosen chosen /usr/local/bin/one 10 && \
    update-alternatives --install /usr/bin/chosen chosen /usr/local/bin/two 20 && \
    update-alternatives --set chosen /usr/local/bin/one && rm -f /var/log/alternatives.log
CMD ["chosen"]
