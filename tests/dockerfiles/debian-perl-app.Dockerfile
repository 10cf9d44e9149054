# A program in Perl, checked while it is built, run by a user of its own.
FROM debian
RUN groupadd --gid 990 app && useradd --uid 990 --gid app --no-create-home --shell /usr/sbin/nologin app
WORKDIR /srv/app
RUN printf '#!/usr/bin/perl\nuse strict;\nprint "hello $ENV{WHO}\\n";\n' > hello.pl && \
    chmod 0755 hello.pl && perl -c hello.pl
ENV WHO=world PERL5LIB=/srv/app/lib
USER app
ENTRYPOINT ["/srv/app/hello.pl"]
