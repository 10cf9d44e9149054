FROM debian AS build
WORKDIR /src
COPY . .
RUN tar -cf /out.tar dir && mkdir /dist && tar -xf /out.tar -C /dist
FROM debian
COPY --from=build /dist /opt/dist
RUN find /opt/dist -type f | sort > /manifest
