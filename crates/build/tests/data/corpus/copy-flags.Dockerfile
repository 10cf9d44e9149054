FROM debian:12
COPY --chown=www-data:www-data --chmod=u=rwX,go=rX site /var/www
COPY --chmod=0644 a b c/
COPY --exclude=*.md --exclude=**/*.tmp docs /docs
COPY --parents ./x/a.txt ./y/./z/b.txt /parents/
COPY --link one two/ /linked/
COPY ["file with space", "/dst dir/"]
COPY . .
